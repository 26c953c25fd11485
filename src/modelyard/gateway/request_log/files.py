"""The two files of the request log: the one Envoy writes now, and the one before it.

All of it blocks; callers are in a thread of their own. Readers may meet a rotation at any moment:
Envoy makes the new file before it writes to it and never returns to the old one, so that once the
new one is there, the old one is complete.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from modelyard.gateway.request_log.lines import ended_at

_CHUNK = 256 * 1024
_LONGEST_LINE = 4096
# Lines lie in the order in which they were written, which differs a little from that of their
# times: a thread may pause between the two.
SLACK_MS = 1_000


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two lines: bytes from the beginning of a file.

    The file is known by its number on the disk together with its first line (empty: it had none
    yet), since the number of a file that is gone is given again.
    """

    inode: int
    first_line: bytes
    offset: int

    def is_in(self, file: BinaryIO) -> bool:
        """Whether this is a place in ``file``."""
        if self.inode != _inode(file):
            return False
        return self.offset == 0 or self.first_line == _line_at(file, 0)


def former(path: Path) -> Path:
    """The file before the one at ``path``."""
    return path.with_name(f"{path.name}.1")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[list[BinaryIO]]:
    """The files that exist, the older first."""
    with contextlib.ExitStack() as stack:
        found: dict[int, BinaryIO] = {}
        for one in (path, former(path)):  # in this order: see the module's first lines
            with contextlib.suppress(FileNotFoundError):
                file = stack.enter_context(one.open("rb"))
                found.setdefault(_inode(file), file)
        yield list(reversed(found.values()))


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _line_at(file: BinaryIO, offset: int) -> bytes:
    """The first whole line that begins at ``offset`` or later; empty when there is none."""
    file.seek(max(0, offset - 1))
    block = file.read(2 * _LONGEST_LINE)
    begin = 0 if offset == 0 else block.find(b"\n") + 1
    end = block.find(b"\n", begin)
    return block[begin : end + 1] if end >= 0 and (begin or offset == 0) else b""


def _position(file: BinaryIO, offset: int) -> Position:
    return Position(_inode(file), _line_at(file, 0), offset)


def begins(path: Path) -> int | None:
    """When the oldest line was written, ms since 1970; None when there is no line."""
    with opened(path) as files:
        for file in files:
            if (moment := ended_at(_line_at(file, 0))) is not None:
                return moment
    return None


def _first_after(file: BinaryIO, moment: int) -> int:
    """An offset from which on all lines of predictions that ended at ``moment`` or later lie."""
    low, high = 0, _size(file)
    while high - low > _CHUNK // 16:
        middle = (low + high) // 2
        ended = ended_at(_line_at(file, middle))
        if ended is not None and ended < moment - SLACK_MS:
            low = middle
        else:
            high = middle
    if low == 0:
        return 0
    file.seek(low - 1)
    return low - 1 + len(file.readline(_LONGEST_LINE))


def lines_since(path: Path, moment: int) -> tuple[Position | None, bool]:
    """Where to begin to read what ended at ``moment`` (ms) or later; False: part of it is gone."""
    with opened(path) as files:
        if not files:
            return None, True
        oldest = ended_at(_line_at(files[0], 0))
        whole = len(files) == 1 or (oldest is not None and oldest <= moment)
        for file in reversed(files):
            first = ended_at(_line_at(file, 0))
            if file is files[0] or (first is not None and first < moment - SLACK_MS):
                return _position(file, _first_after(file, moment)), whole
    return None, whole


def read_on(path: Path, position: Position | None) -> Iterator[tuple[bytes, Position, bool]]:
    """Whole lines from ``position`` (None: the beginning) on, piece by piece.

    With each piece (it may be empty) comes the position behind it, and False when lines before it
    are gone: the file of ``position`` has been rotated away.
    """
    with opened(path) as files:
        at = next((n for n, file in enumerate(files) if position and position.is_in(file)), None)
        whole = position is None or at is not None
        for number, file in enumerate(files[at or 0 :]):
            offset = position.offset if position and whole and number == 0 else 0
            yield b"", _position(file, offset), whole
            for piece, end in _pieces(file, offset):
                yield piece, _position(file, end), whole


def _pieces(file: BinaryIO, offset: int) -> Iterator[tuple[bytes, int]]:
    while True:
        file.seek(offset)
        lines, feed, _ = file.read(_CHUNK).rpartition(b"\n")
        if not feed:
            return
        offset += len(lines) + 1
        yield lines + feed, offset


def is_past(piece: bytes, moment: int) -> bool:
    """Whether nothing behind these whole lines can have ended before ``moment`` (ms). Pure."""
    last = ended_at(piece[piece.rfind(b"\n", 0, -1) + 1 :])
    return last is not None and last >= moment + SLACK_MS


def search_back(path: Path, needle: bytes) -> str | None:
    """The last line that has ``needle``, without its line feed."""
    with opened(path) as files:
        for file in reversed(files):
            end = _size(file)
            while end > 0:
                begin = max(0, end - _CHUNK)
                file.seek(begin)
                block = file.read(end - begin + _LONGEST_LINE)
                at = block.rfind(needle)
                if at >= 0 and (line := _line_around(file, begin + at)) is not None:
                    return line
                end = begin
    return None


def _line_around(file: BinaryIO, offset: int) -> str | None:
    begin = max(0, offset - _LONGEST_LINE)
    file.seek(begin)
    block = file.read(2 * _LONGEST_LINE)
    at = offset - begin
    end = block.find(b"\n", at)
    if end < 0:
        return None
    return block[block.rfind(b"\n", 0, at) + 1 : end].decode("ascii", errors="replace")
