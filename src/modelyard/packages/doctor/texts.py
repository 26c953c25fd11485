"""The texts of a package, read within bounds and parsed, never executed."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.packages.config.config_json import LARGEST
from modelyard.packages.layout import CONFIG, NOT_PACKAGED, SCRIPT

MOST_FILES = 20_000
# A syntax tree takes some hundred times the memory of its text.
_LARGEST_SOURCE = 128 * 1024
_MOST_SOURCE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file below ``model/``. ``tree`` is None where ``fault`` says why."""

    name: str
    tree: ast.Module | None = None
    fault: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        return f"model/{self.name}"

    def at(self, node: ast.AST) -> str:
        """The place of ``node``, for people."""
        return f"{self.where}:{getattr(node, 'lineno', 1)}"


@dataclass(frozen=True, slots=True)
class Package:
    """What can be read of a package. ``files``: names below ``model/``, with their size in bytes.

    ``config``: the bytes of ``config.json``, None when there is none. ``skipped``: Python files
    that were not read, since together they are too large.
    """

    files: Mapping[str, int]
    config: bytes | None
    sources: Mapping[str, Source] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    @property
    def script(self) -> Source | None:
        return self.sources.get(SCRIPT)

    @property
    def siblings(self) -> dict[str, str]:
        """Modules and packages directly in ``model/``: name of the module → file or folder."""
        found: dict[str, str] = {}
        for name in sorted(self.files):
            top, slash, rest = name.partition("/")
            if slash and rest.endswith(".py") and top.isidentifier():
                found.setdefault(top, f"{top}/")
            elif not slash and name.endswith(".py"):
                found[name.removesuffix(".py")] = name
        return found


def read_package(folder: Path) -> Package:
    """The package whose ``model/`` lies in ``folder``. Raises ``OSError``; follows no link."""
    model = folder / "model"
    files: dict[str, int] = {}
    for at, folders, names in os.walk(model):
        folders[:] = [one for one in folders if one not in NOT_PACKAGED]
        for name in names:
            path = Path(at) / name
            if len(files) < MOST_FILES and not path.is_symlink() and path.is_file():
                files[path.relative_to(model).as_posix()] = path.stat().st_size
    config = None
    if CONFIG in files:
        with (model / CONFIG).open("rb") as file:
            config = file.read(LARGEST + 1)
    sources: dict[str, Source] = {}
    skipped: list[str] = []
    spent = 0
    for name in sorted((one for one in files if one.endswith(".py")), key=_script_first):
        spent += files[name]
        if files[name] > _LARGEST_SOURCE or spent > _MOST_SOURCE:
            skipped.append(name)
        else:
            sources[name] = parse_source(name, (model / name).read_bytes())
    return Package(files, config, sources, tuple(skipped))


def _script_first(name: str) -> tuple[bool, str]:
    return name != SCRIPT, name


def parse_source(name: str, content: bytes) -> Source:
    """Parse one file. Pure; whatever its text does to the parser becomes its ``fault``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Source(name, ast.parse(content, f"model/{name}"))
    except SyntaxError as error:
        return Source(name, None, error.msg or "invalid syntax", error.lineno or 1)
    except (ValueError, RecursionError, MemoryError) as error:
        return Source(name, None, f"{type(error).__name__}: {error}", 1)
