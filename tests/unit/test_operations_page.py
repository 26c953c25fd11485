"""The page for operators names every setting, with the default that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelyard.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
ROW = re.compile(r"^\| (`MODELYARD_.*?) \| (.*?) \| (.*) \|$", re.MULTILINE)
# Described in words, because they depend on other settings or are made at the first start.
IN_WORDS = {"public_url", "database_url", "object_store", "admin_password"}


def rows() -> dict[str, str]:
    """The default's cell by the setting's name; several settings may share a row."""
    found = {}
    for names, default, meaning in ROW.findall(PAGE.read_text(encoding="utf-8")):
        assert meaning
        for name in re.findall(r"`MODELYARD_(\w+)`", names):
            found[name.lower()] = default
    return found


def test_every_setting_has_its_row() -> None:
    assert set(rows()) == set(Settings.fields())


@pytest.mark.parametrize("name", sorted(set(Settings.fields()) - IN_WORDS))
def test_its_default_is_told(name: str) -> None:
    default = Settings.fields()[name].default
    told = rows()[name].strip("`")
    if default == ():
        expected = "[]"
    elif isinstance(default, bool):
        expected = str(default).lower()
    elif isinstance(default, float):
        expected = f"{default:g}"
    else:
        expected = str(default)
    assert told == expected
