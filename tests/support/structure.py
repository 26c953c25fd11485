"""Measures the floor plan of a source tree; every check returns its findings as sentences.

What the checks cannot see, which way imports point, the contracts of ``pyproject.toml`` say.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

FOLDER_MODULES = 15
MODULE_IMPORTS = 12
FILE_LINES = 400


def modules(src: Path) -> dict[str, Path]:
    """The modules below ``src`` by their dotted names; a package stands for its ``__init__``."""
    found = {}
    for path in sorted(src.rglob("*.py")):
        parts = path.relative_to(src).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def full_folders(src: Path, most: int = FOLDER_MODULES) -> list[str]:
    """Folders with more than ``most`` modules, ``__init__`` not counted."""
    folders = sorted({path.parent for path in src.rglob("*.py")})
    counts = {
        folder: sum(1 for path in folder.glob("*.py") if path.name != "__init__.py")
        for folder in folders
    }
    return [
        f"{folder.relative_to(src)} has {count} modules; {most} are allowed"
        for folder, count in counts.items()
        if count > most
    ]


def long_files(src: Path, most: int = FILE_LINES) -> list[str]:
    """Files with more than ``most`` lines."""
    counts = {path: len(path.read_bytes().splitlines()) for path in sorted(src.rglob("*.py"))}
    return [
        f"{path.relative_to(src)} has {count} lines; {most} are allowed"
        for path, count in counts.items()
        if count > most
    ]


def busy_modules(
    src: Path, allowed: Mapping[str, int] | None = None, most: int = MODULE_IMPORTS
) -> list[str]:
    """Modules that import more than ``most`` modules of ``src``.

    ``allowed`` names the exceptions, each with the most that it may import; one that is no longer
    needed is a finding too, so that the list shrinks.
    """
    exceptions = dict(allowed or {})
    known = modules(src)
    findings = []
    for name, path in known.items():
        count, limit = len(project_imports(path, known)), exceptions.pop(name, most)
        if count > limit:
            findings.append(f"{name} imports {count} project modules; {limit} are allowed")
        elif count <= most < limit:
            findings.append(f"{name} needs no exception: it imports {count} project modules")
    return findings + [f"{name} needs no exception: it is gone" for name in exceptions]


def project_imports(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules of ``known`` that the file imports, those for annotations only included."""
    found = set()
    for name in _imported(path):
        while name and name not in known:
            name = name.rpartition(".")[0]
        if name:
            found.add(name)
    return found


def third_party(src: Path) -> set[str]:
    """The top-level packages that files below ``src`` import and that neither it nor Python has."""
    tops = {name.split(".")[0] for path in src.rglob("*.py") for name in _imported(path)}
    return tops - {path.stem for path in src.iterdir()} - sys.stdlib_module_names


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
