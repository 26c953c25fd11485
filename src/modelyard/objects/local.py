"""A folder as an object store: what lies in it, seen without following a single link.

``obstore`` follows symbolic links; here a link could lead out of the store into files that are
nobody's objects, so everything in a local bucket is looked at with ``lstat`` first.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


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
    """Whether no step from the bucket's folder to ``key``, the folder included, is a link."""
    at = bucket
    for part in ("", *key.split("/")) if key else ("",):
        at = at / part if part else at
        try:
            mode = at.lstat().st_mode
        except OSError:
            # Nothing there: nothing is followed either.
            return True
        if stat.S_ISLNK(mode):
            return False
    return True


def walk(bucket: Path, prefix: str) -> Iterator[Entry]:
    """Everything but folders below ``prefix``, in the order of names; nothing is followed."""
    start = bucket / prefix if prefix else bucket
    if not way_is_plain(bucket, prefix) or not start.is_dir():
        return
    yield from _walk(start, prefix)


def _walk(folder: Path, prefix: str) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        key = f"{prefix}/{entry.name}" if prefix else entry.name
        info = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            yield from _walk(Path(entry.path), key)
        else:
            yield Entry(key, info.st_size, info.st_mtime_ns // 1_000_000, _oddity(info.st_mode))


def _oddity(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    return "a symbolic link" if stat.S_ISLNK(mode) else "not a plain file"
