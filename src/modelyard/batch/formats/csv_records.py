"""CSV by RFC 4180, cut out of a stream of bytes into records that can be found again. Pure.

Where a record ends is decided here, by the state of its quotes alone and exactly as the ``csv``
module does; what it says is read by ``csv``. UTF-8 with or without a byte order mark; lines end
with CRLF, LF or CR; empty lines are no records (inference.md §2.4).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from modelyard.batch.formats.mapping import RowError

LONGEST_RECORD = 16 * 1024 * 1024
"""Bytes; what is longer is no row but a quote that nobody closed."""

Record = tuple[int, bytes]
"""Byte offset in the file, and the record with its line end."""

_MARK = b"\xef\xbb\xbf"
_EMPTY = (b"\n", b"\r\n", b"\r")


class RecordTooLong(ValueError):
    """A record of more than ``LONGEST_RECORD`` bytes; the message says where it begins."""


class Cutter:
    """Feed it the file in pieces of any size, from byte ``offset`` on, where a record begins."""

    def __init__(self, offset: int = 0) -> None:
        self._offset = offset  # of what is kept: the open record, then the tail
        self._tail = b""  # a line that is not whole yet
        self._open: list[bytes] = []  # whole lines of a record whose quote is open
        self._kept = 0  # their bytes
        self._begun = offset > 0

    def feed(self, chunk: bytes) -> list[Record]:
        """The records that are whole now. Raises ``RecordTooLong``."""
        data = self._tail + chunk if self._tail else chunk
        if not self._begun:
            if len(data) < len(_MARK) and _MARK.startswith(data):
                self._tail = data
                return []
            self._begun = True
            if data.startswith(_MARK):
                data = data[len(_MARK) :]
                self._offset = len(_MARK)
        lines = data.splitlines(keepends=True)
        # Behind a CR there may be an LF.
        self._tail = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        found = self._cut(lines)
        if self._kept + len(self._tail) > LONGEST_RECORD:
            raise RecordTooLong(
                f"the record at byte {self._offset} is longer than {LONGEST_RECORD} bytes: "
                "is a quote not closed?"
            )
        return found

    def finish(self) -> list[Record]:
        """What is left at the end of the file."""
        tail, self._tail = self._tail, b""
        found = self._cut([] if not self._begun and tail == _MARK else [tail] if tail else [])
        if self._open:
            found.append((self._offset, b"".join(self._open)))
            self._open = []
        return found

    def _cut(self, lines: list[bytes]) -> list[Record]:
        found: list[Record] = []
        offset, still_open = self._offset, self._open
        for line in lines:
            if not still_open and b'"' not in line:
                if line not in _EMPTY:
                    found.append((offset, line))
                offset += len(line)
                continue
            quoted = _ends_quoted(line, bool(still_open))
            still_open.append(line)
            self._kept += len(line)
            if not quoted:
                found.append((offset, b"".join(still_open) if len(still_open) > 1 else line))
                offset += self._kept
                self._kept = 0
                still_open.clear()
        self._offset = offset
        return found


def _ends_quoted(line: bytes, quoted: bool) -> bool:
    """Whether a quote is open at the end of ``line``, which begins within quotes or at a field."""
    at = 0
    while True:
        if not quoted and line[at : at + 1] == b'"':
            quoted = True
            at += 1
        while quoted:
            at = line.find(b'"', at) + 1
            if at == 0:
                return True
            if line[at : at + 1] == b'"':
                at += 1
            else:
                quoted = False
        # Outside of quotes only a comma begins a field, and only there a quote is one.
        at = line.find(b",", at) + 1
        if at == 0:
            return False


def parse(records: Sequence[bytes]) -> list[list[str] | RowError]:
    """The columns of each record, or why it has none."""
    csv.field_size_limit(LONGEST_RECORD)
    try:
        found: list[list[str] | RowError] = list(csv.reader([one.decode() for one in records]))
    except (UnicodeDecodeError, csv.Error):
        return [_parse_one(one) for one in records]
    return found if len(found) == len(records) else [_parse_one(one) for one in records]


def _parse_one(record: bytes) -> list[str] | RowError:
    try:
        found = list(csv.reader([record.decode()]))
    except UnicodeDecodeError as error:
        return RowError(f"The row is not UTF-8: byte {error.start + 1} of it is not.")
    except csv.Error as error:
        return RowError(f"The row is not CSV: {error}.")
    return found[0] if len(found) == 1 else RowError("The row is not CSV.")
