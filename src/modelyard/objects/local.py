"""A folder as an object store: what lies in it, seen without following a single link.

``obstore`` follows symbolic links; here a link could lead out of the store into files that are
nobody's objects, so everything in a local bucket is looked at with ``lstat`` first.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
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

    ``oddity`` says why it is no object (a link, a device…); None for a plain file. ``mark`` is
    another one when the content is.
    """

    key: str
    size: int
    modified_ms: int
    oddity: str | None = None
    mark: str = ""


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
                yield _entry(key, info)


def pages(bucket: Path, prefix: str, size: int) -> Iterator[list[Entry]]:
    """Everything but folders below ``prefix``, ``size`` at a time and in no order.

    Nothing is followed and nothing sorted, so that a folder of a million names takes no memory.
    Raises ``OSError``.
    """
    start = bucket / prefix if prefix else bucket
    if not way_is_plain(bucket, prefix) or not start.is_dir():
        return
    found = _below(start, prefix, 0)
    while page := list(islice(found, size)):
        yield page


def _below(folder: Path, prefix: str, depth: int) -> Iterator[Entry]:
    if depth > DEEPEST:
        yield Entry(prefix, 0, 0, f"more than {DEEPEST} folders deep")
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            key = f"{prefix}/{entry.name}" if prefix else entry.name
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(info.st_mode):
                yield from _below(Path(entry.path), key, depth + 1)
            else:
                yield _entry(key, info)


def look(bucket: Path, key: str) -> Entry | None:
    """One object as it is now; None when there is none. Raises ``OSError``."""
    descriptor = _open(bucket, key)
    if descriptor is None:
        return None
    try:
        return _entry(key, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def read_part(bucket: Path, key: str, start: int, stop: int) -> tuple[Entry, bytes] | None:
    """Bytes ``start`` to ``stop`` of one object, and what it was then; None when there is none.

    Raises ``OSError``.
    """
    descriptor = _open(bucket, key)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        pieces = []
        while start < stop and (piece := os.pread(descriptor, stop - start, start)):
            pieces.append(piece)
            start += len(piece)
        return _entry(key, os.fstat(file.fileno())), b"".join(pieces)


def _open(bucket: Path, key: str) -> int | None:
    """The plain file ``key``, opened without following a link on any step; None: there is none."""
    *folders, name = key.split("/")
    way = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        at = os.open(bucket, way | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        for part in folders:
            inner = os.open(part, way | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = inner
        descriptor = os.open(name, way | os.O_NONBLOCK, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            return None
        raise
    finally:
        os.close(at)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


_ASIDE = ".aside"
"""Beside the buckets; no bucket can have this name. In one that is a file system of its own."""
_numbers = itertools.count()


def put(root: Path, bucket: str, key: str, content: bytes | Path, *, durable: bool) -> None:
    """Write one object, whole or not at all; ``durable``: it survives a power cut. ``OSError``."""
    target = root / bucket / key
    (root / bucket).mkdir(parents=True, exist_ok=True, mode=0o700)
    # A bucket may be another file system's, and nothing is renamed into that.
    same = root.stat().st_dev == (root / bucket).stat().st_dev
    aside = (root if same else root / bucket) / _ASIDE / f"{os.getpid()}-{next(_numbers)}"
    aside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with aside.open("xb") as file:
            if isinstance(content, Path):
                with content.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            else:
                file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(target.parent)


def sweep(root: Path) -> None:
    """Remove what writers that were killed have left aside."""
    buckets = [path for path in root.glob("*") if not path.is_symlink()]
    for folder in (root, *buckets):
        for path in (folder / _ASIDE).glob("*-*"):
            pid = path.name.partition("-")[0]
            if not Path("/proc", pid).exists():
                with contextlib.suppress(OSError):
                    path.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entry(key: str, info: os.stat_result) -> Entry:
    mark = f"{info.st_size:x}-{info.st_mtime_ns:x}-{info.st_ino:x}"
    return Entry(key, info.st_size, info.st_mtime_ns // 1_000_000, _oddity(info.st_mode), mark)


def _oddity(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    return "a symbolic link" if stat.S_ISLNK(mode) else "not a plain file"
