"""Which objects may become files of a folder, and as which (pure)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelyard.errors import Problem
from modelyard.objects.local import Entry
from modelyard.objects.paths import segment_fault

GIGABYTE = 1024**3


@dataclass(frozen=True, slots=True)
class Limits:
    """What one copy may take. ``size`` in bytes (models.md §1.1: 20 GB of model files)."""

    files: int = 20_000
    size: int = 20 * GIGABYTE
    depth: int = 64


@dataclass(frozen=True, slots=True)
class Copy:
    """``entry`` becomes the file ``target``, a path relative to the folder."""

    entry: Entry
    target: str


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """What to copy, or why not. ``size`` in bytes."""

    copies: tuple[Copy, ...]
    size: int
    problems: tuple[Problem, ...]


def plan_transfer(
    entries: Iterable[Entry], prefix: str, limits: Limits, field: str
) -> TransferPlan:
    """Plan the copy of everything below ``prefix``; stops at the first limit.

    Refused: links and devices, names that a folder cannot hold or that would leave it, names that
    differ in case or in the spelling of an accent only (they are one file on some systems), a file
    where a folder must be, too many files or bytes (3044).
    """
    copies: list[Copy] = []
    size = 0
    skip = len(prefix) + 1 if prefix else 0
    for entry in entries:
        target = entry.key[skip:]
        fault = entry.oddity and f"is {entry.oddity}"
        fault = fault or _target_fault(target, limits)
        if fault:
            return _refused(field, f"{target[:200]!r} {fault}", "Remove or rename it.")
        copies.append(Copy(entry, target))
        size += entry.size
        if len(copies) > limits.files:
            return _refused(field, f"there are more than {limits.files} files", "Pack fewer.")
        if size > limits.size:
            return _refused(
                field,
                f"the files are larger than {limits.size // GIGABYTE or 1} GB",
                "Make the package smaller.",
                code="3044",
            )
    copies = _without_markers(copies)
    clash = _clash(copies)
    if clash:
        return _refused(field, clash, "Rename one of them.")
    return TransferPlan(tuple(copies), size, ())


def _refused(field: str, reason: str, remedy: str, code: str = "3017") -> TransferPlan:
    return TransferPlan((), 0, (Problem(field, reason, remedy, code=code),))


def _target_fault(target: str, limits: Limits) -> str | None:
    parts = target.split("/")
    if len(parts) > limits.depth:
        return f"lies more than {limits.depth} folders deep"
    return next((fault for part in parts if (fault := segment_fault(part))), None)


def _folders(copies: Sequence[Copy]) -> set[str]:
    folders: set[str] = set()
    for copy in copies:
        parent = copy.target.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return folders


def _without_markers(copies: list[Copy]) -> list[Copy]:
    # Some stores keep an empty object for a folder.
    folders = _folders(copies)
    return [copy for copy in copies if copy.entry.size or copy.target not in folders]


def _clash(copies: Sequence[Copy]) -> str | None:
    seen: dict[str, str] = {}
    for name in [*_folders(copies), *(copy.target for copy in copies)]:
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            return f"{other!r} and {name!r} differ in case only, or in how an accent is written"
    both = _folders(copies) & {copy.target for copy in copies}
    if both:
        return f"{min(both)!r} is both a file and a folder"
    return None
