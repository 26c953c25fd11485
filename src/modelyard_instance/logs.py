"""The instance's log: whole lines, a time stamp on each, rotated by size, never in the way."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import time
from datetime import UTC, datetime
from pathlib import Path

ROTATE_BYTES = 5 * 1024 * 1024
KEPT = 3
_LONGEST_LINE = 16 * 1024
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
# A model that prints without end must not make the front miss its requests.
_BYTES_PER_SECOND = 4 * 1024 * 1024


class RotatingLog:
    """Appends to ``path``; at ``limit`` bytes it becomes ``path.1`` and so on, ``kept`` files.

    A full disk loses lines and nothing else.
    """

    def __init__(self, path: Path, limit: int = ROTATE_BYTES, kept: int = KEPT) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._limit = limit
        self._kept = kept
        self._second = 0
        self._spent = 0
        self._dropped = 0
        self._fd = os.open(path, _FLAGS, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        # The new file first: a number that is closed and kept would soon be somebody's connection.
        aside = self._path.with_name(f".{self._path.name}.new")
        fresh = os.open(aside, _FLAGS | os.O_TRUNC, 0o600)
        try:
            self._shift()
            aside.replace(self._path)
        except OSError:
            os.close(fresh)
            raise
        os.close(self._fd)
        self._fd, self._size = fresh, 0

    def _shift(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path if number == 1 else older.with_suffix(f".{number - 1}")
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)

    def write(self, source: str, text: bytes, at: str = "") -> None:
        """Append the lines of ``text``, each as ``<UTC time> <source> <line>``; the time is ``at``,
        or now.
        """
        second = int(time.monotonic())
        if second != self._second:
            dropped, self._dropped = self._dropped, 0
            self._second, self._spent = second, 0
            if dropped:
                self.write("front", b"%d bytes of output were dropped: too much at once" % dropped)
        self._spent += len(text)
        if self._spent > _BYTES_PER_SECOND:
            self._dropped += len(text)
            return
        stamp = at or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        start = f"{stamp} {source} ".encode()
        block = b"".join(start + line + b"\n" for line in text.splitlines())
        with contextlib.suppress(OSError):
            if self._size + len(block) > self._limit and self._size:
                self._rotate()
            self._size += os.write(self._fd, block)

    def close(self) -> None:
        os.close(self._fd)


class LogStream(io.TextIOBase):
    """Stands in for ``sys.stdout`` and ``sys.stderr`` of the front."""

    def __init__(self, log: RotatingLog) -> None:
        self._log = log
        self._held = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        whole, newline, rest = (self._held + text).rpartition("\n")
        self._held = rest
        if newline:
            self._log.write("front", whole.encode("utf-8", "backslashreplace"))
        return len(text)


class LogPump(asyncio.Protocol):
    """Reads the pipe that is the worker's stdout and stderr."""

    def __init__(self, log: RotatingLog) -> None:
        self._log = log
        self._held = b""

    def data_received(self, data: bytes) -> None:
        whole, newline, rest = (self._held + data).rpartition(b"\n")
        if not newline and len(rest) < _LONGEST_LINE:
            self._held = rest
            return
        if len(rest) >= _LONGEST_LINE:
            whole, rest = whole + newline + rest, b""
        self._held = rest
        self._log.write("model", whole)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._held:
            self._log.write("model", self._held)
            self._held = b""
