"""What a zygote of a package's environment imports: what the packages there were asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard.runtime.local.env_zygotes import wanted
from modelyard_instance.zygotes.env_zygote import modules_of, packages_in


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            ["pandas/__init__.py", "pandas/core/__init__.py", "pandas-2.0.dist-info/RECORD"],
            ["pandas"],
        ),
        (["six.py", "six-1.16.dist-info/METADATA"], ["six"]),
        (["../../bin/tool.py", "data/file.txt", "with-dash/__init__.py"], []),
        (["a/__init__.py", "b/__init__.py", "c.pyi"], ["a", "b"]),
    ],
)
def test_packages_are_found_by_their_files(files: list[str], found: list[str]) -> None:
    assert packages_in(files) == found


def test_a_distribution_brings_packages_of_other_names() -> None:
    found = modules_of(["scikit-learn", "numpy", "is-not-installed", ""])
    assert found == ["sklearn", "numpy"]


def test_what_an_environment_was_asked_for_is_in_its_manifest(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    assert wanted(python) == []
    manifest = {"wanted": ["scikit-learn==1.0", "Pillow>=9,<11", "numpy", "./a.whl", ""]}
    (tmp_path / "environment.json").write_text(json.dumps(manifest))
    assert wanted(python) == ["scikit-learn", "Pillow", "numpy"]
    (tmp_path / "environment.json").write_text("[]")
    assert wanted(python) == []
