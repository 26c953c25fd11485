"""The pages name files that exist, and the wheel carries the examples that are here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
]
# Where a path of a page may start.
_BASES = (ROOT, ROOT / "src", ROOT / "src" / "modelyard", ROOT / "src" / "modelyard_instance")
_TOPS = "|".join(
    sorted(
        {
            *(path.name for base in _BASES for path in base.iterdir() if path.is_dir()),
        }
        - {"model", "objects"}
    )
)
_PATH = re.compile(rf"`((?:{_TOPS})/[\w./*-]*|[\w./-]+\.py)`")
_LINK = re.compile(r"\]\(([^)#:]+)\)")
# Files of a model package and of a home, not of this repository.
_ELSEWHERE = {"customize_service.py", "train.py", "model/customize_service.py"}


def exists(path: str) -> bool:
    return any(list(base.glob(path.rstrip("/"))) for base in _BASES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    missing = {
        path for path in _PATH.findall(text) if path not in _ELSEWHERE and not exists(path)
    } | {link for link in _LINK.findall(text) if not (page.parent / link).exists()}
    assert missing == set()


def test_every_file_that_a_docstring_names_exists() -> None:
    sources = [*(ROOT / "src").rglob("*.py")]
    files = {path.as_posix() for path in (*sources, *(ROOT / "tests").rglob("*.py"))}
    named = {
        name
        for path in sources
        for name in re.findall(r"``([\w/]+\.py)``", path.read_text())
        if name not in _ELSEWHERE
    }
    assert {name for name in named if not any(f.endswith(f"/{name}") for f in files)} == set()
    assert len(named) > 10


def test_a_path_that_is_missing_is_found() -> None:
    assert not exists("control/wishes.py")
    assert _PATH.findall("see `control/wishes.py` and `lending.py`") == [
        "control/wishes.py",
        "lending.py",
    ]


def test_the_wheel_carries_every_example() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    carried = config["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    weights = (".pkl", ".joblib", ".png", ".pyc")
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "examples").rglob("*")
        if path.is_file() and path.suffix not in weights
    }
    assert here == {name for name in carried if name.startswith("examples/")}
