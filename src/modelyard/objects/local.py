"""A folder as an object store: what lies in it, seen without following a single link.

``obstore`` follows symbolic links; here a link could lead out of the store into files that are
nobody's objects, so everything in a local bucket is looked at with ``lstat`` first.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

DEEPEST = 128
"""Folders below one another that a walk enters, at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing below a folder. ``key`` is relative to the bucket, ``modified_ms`` since 1970.

    ``oddity`` says why it is no object (a link, a device…); None for a plain file.
    """

    key: str
    size: int
    modified_ms: int
    oddity: str | None = None


def way_is_plain(bucket: Path, key: str) -> bool:
    """Whether ``key`` can be opened without surprise.

    No step from the bucket's folder to it, the folder included, is a link, and it is a plain file
    or a folder: to open a pipe or a device may block for good. What is not there is plain.
    """
    at = bucket
    mode = stat.S_IFDIR
    for part in ("", *key.split("/")) if key else ("",):
        at = at / part if part else at
        try:
            mode = at.lstat().st_mode
        except OSError:
            # Nothing there: nothing is followed either.
            return True
        if stat.S_ISLNK(mode):
            return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def walk(bucket: Path, prefix: str, most: int | None = None) -> Iterator[Entry]:
    """Everything but folders below ``prefix``, in the order of names; nothing is followed.

    At most ``most`` names are looked at, folders included, and no folder below ``DEEPEST`` levels:
    where that ends the walk, an entry whose ``oddity`` says so takes the place of the rest.
    """
    start = bucket / prefix if prefix else bucket
    if not way_is_plain(bucket, prefix) or not start.is_dir():
        return
    yield from _Walk(most).below(start, prefix, 0)


class _Walk:
    """One walk, and how many names it may still look at."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._left = most

    def below(self, folder: Path, prefix: str, depth: int) -> Iterator[Entry]:
        if depth > DEEPEST:
            yield Entry(prefix, 0, 0, f"more than {DEEPEST} folders deep")
            return
        try:
            with os.scandir(folder) as found:
                entries = list(islice(found, None if self._left is None else self._left + 1))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            yield Entry(prefix, 0, 0, "a folder whose path is too long")
            return
        if self._left is not None:
            self._left -= len(entries)
            if self._left < 0:
                oddity = f"in a folder tree of more than {self._most} names"
                yield Entry(prefix, 0, 0, oddity)
                return
        for entry in sorted(entries, key=lambda entry: entry.name):
            key = f"{prefix}/{entry.name}" if prefix else entry.name
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                yield from self.below(Path(entry.path), key, depth + 1)
            else:
                yield Entry(key, info.st_size, info.st_mtime_ns // 1_000_000, _oddity(info.st_mode))


def _oddity(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    return "a symbolic link" if stat.S_ISLNK(mode) else "not a plain file"
