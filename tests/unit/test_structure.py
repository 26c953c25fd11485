"""The budgets of the floor plan hold, and each check fails where it should."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from structure import busy_modules, full_folders, long_files, third_party

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"

# The composition root knows all parts. The others wait to be divided; this list only shrinks.
ALLOWED = {
    "modelyard.batch.driver.run": 18,
    "modelyard.batch.driver.workplace": 15,
    "modelyard.cli.commands.check": 15,
    "modelyard.composition": 99,
    "modelyard.control.batch.runs": 18,
    "modelyard.control.batch.runs_reconcile": 17,
    "modelyard.control.changes.admission": 22,
    "modelyard.control.changes.create": 20,
    "modelyard.control.changes.revisions": 13,
    "modelyard.control.changes.service_changes": 15,
    "modelyard.control.changes.update": 19,
    "modelyard.control.maintenance.restore": 13,
    "modelyard.control.preview.context": 19,
    "modelyard.control.preview.service_preview": 15,
    "modelyard.control.reconciler.reconcile": 28,
    "modelyard.control.reconciler.write_back": 17,
    "modelyard.packages.importing.fetching": 15,
    "modelyard.packages.importing.importer": 16,
    "modelyard_instance.worker.main": 13,
}


def test_no_folder_has_more_than_fifteen_modules() -> None:
    assert full_folders(SRC) == []


def test_no_file_has_more_than_four_hundred_lines() -> None:
    assert long_files(SRC) == []


def test_no_module_imports_more_than_twelve_project_modules() -> None:
    assert busy_modules(SRC, ALLOWED) == []


def test_the_contract_of_the_core_names_every_package_that_is_imported() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (
        one
        for one in config["contracts"]
        if one["name"] == "The core needs the standard library alone"
    )
    assert third_party(SRC) - set(contract["forbidden_modules"]) == set()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package of sixteen modules, each of them of one line."""
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").touch()
    for number in range(16):
        (package / f"room_{number:02}.py").write_text("import sys\n")
    return tmp_path


def test_a_full_folder_is_found(tree: Path) -> None:
    assert full_folders(tree) == ["house has 16 modules; 15 are allowed"]
    assert full_folders(tree, most=16) == []


def test_a_long_file_is_found(tree: Path) -> None:
    assert long_files(tree) == []
    (tree / "house" / "room_00.py").write_text("x = 1\n" * 401)
    assert long_files(tree) == ["house/room_00.py has 401 lines; 400 are allowed"]


def test_a_module_with_many_imports_is_found(tree: Path) -> None:
    lines = [f"from house.room_{number:02} import x" for number in range(1, 10)]
    lines += ["import house.room_10", "from house import room_11, room_12", "import json"]
    hall = tree / "house" / "room_00.py"
    hall.write_text("\n".join(lines))
    assert busy_modules(tree) == []
    hall.write_text("\n".join([*lines, "def f():", "    from house.room_13 import y"]))
    assert busy_modules(tree) == ["house.room_00 imports 13 project modules; 12 are allowed"]


def test_an_exception_holds_as_long_as_it_is_needed(tree: Path) -> None:
    lines = [f"import house.room_{number:02}" for number in range(1, 15)]
    hall = tree / "house" / "room_00.py"
    hall.write_text("\n".join(lines))
    assert busy_modules(tree, {"house.room_00": 14}) == []
    assert busy_modules(tree, {"house.room_00": 13}) == [
        "house.room_00 imports 14 project modules; 13 are allowed"
    ]
    hall.write_text("")
    assert busy_modules(tree, {"house.room_00": 14, "house.attic": 13}) == [
        "house.room_00 needs no exception: it imports 0 project modules",
        "house.attic needs no exception: it is gone",
    ]


def test_the_contracts_notice_a_package_in_the_core_and_circles(tmp_path: Path) -> None:
    shutil.copytree(SRC, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    domain = tmp_path / "src" / "modelyard" / "domain"
    (domain / "fetch.py").write_text("import httpx\n")
    for package in (domain, tmp_path / "src" / "modelyard_instance"):
        name = ".".join(package.relative_to(tmp_path / "src").parts)
        (package / "chicken.py").write_text(f"import {name}.egg\n")
        (package / "egg.py").write_text(f"import {name}.chicken\n")
    # In this order: PYTHONPATH comes before where the environment's own copy is found.
    found = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    broken = {
        line.partition(" BROKEN")[0] for line in found.stdout.splitlines() if " BROKEN" in line
    }
    assert broken == {"The core needs the standard library alone", "No circle between siblings"}
    assert "modelyard.domain.fetch -> httpx" in found.stdout
    assert "No cycles are allowed in modelyard.domain." in found.stdout
    assert "No cycles are allowed in modelyard_instance." in found.stdout
