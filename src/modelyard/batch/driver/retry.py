"""A retry: the former results again, but for the rows that failed, which are computed anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from modelyard.batch.driver.csv_file import CsvRun, Row
from modelyard.batch.driver.journal import File
from modelyard.batch.driver.spool import Spool
from modelyard.batch.driver.workplace import FileFailed, Workplace
from modelyard.batch.formats import csv_records
from modelyard.batch.formats.quarantine import BadRow, read_row
from modelyard.batch.spec import SPOOL_FOLDER

_PIECE = 1 << 19
_SLICE = 128


async def former_result(place: Workplace, file: File, at: int) -> AsyncIterator[bytes]:
    """The result that the run before wrote, from byte ``at`` on, in pieces."""
    assert place.former is not None
    path = place.result_path(file, place.former)
    entry = await place.read(lambda: place.entry(path))
    while at < entry.size:
        begin = at
        piece = await place.read(
            lambda: place.objects.part(path, begin, min(begin + _PIECE, entry.size), entry.mark)  # noqa: B023
        )
        at += len(piece)
        yield piece


class RetryRun(CsvRun):
    """The work on a file that had a result before, in part or as a whole.

    Its cursor's ``offset`` counts bytes of the former result, whose line ``n`` answers row ``n``.
    """

    async def _look(self) -> None:
        """The former result is what is read."""

    async def _feed(self) -> None:
        bad = _BadRows(self._place, self.file.n, self._rows)
        tail, at = b"", self._offset
        async for piece in former_result(self._place, self.file, at):
            lines = (tail + piece).splitlines(keepends=True)
            tail = lines.pop() if not lines[-1].endswith(b"\n") else b""
            for start in range(0, len(lines), _SLICE):
                await self._room()
                at = self._merge(lines[start : start + _SLICE], at, bad)
        bad.close()

    def _merge(self, lines: list[bytes], at: int, bad: _BadRows) -> int:
        """Take these lines over, or their rows up again; returns the offset behind them."""
        given, again = [], []
        for line in lines:
            self._given += 1
            at += len(line)
            found = bad.take(self._given)
            if found is None:
                row = Row(self, self._given, at, at, b"")
                row.line = line
            else:
                row = Row(self, self._given, found.offset, at, found.record)
                again.append(row)
            given.append(row)
        for row, columns in zip(again, csv_records.parse([row.raw for row in again]), strict=True):
            self._fill(row, columns)
        self._put(given)
        return at


class KeepFile:
    """The result of a whole file is taken over as it was."""

    def __init__(self, place: Workplace, file: File) -> None:
        self._place = place
        self._file = file

    async def run(self) -> None:
        """Do it. Raises ``Undeliverable``, ``Unavailable``, ``OSError``."""
        place, file = self._place, self._file
        path = place.spool_path(file.n, "out")
        spool = Spool(path)
        try:
            async for piece in former_result(place, file, 0):
                spool.add(piece)
            spool.flush()
            await place.deliver(file, path if spool.length else b"")
        except FileFailed as error:
            file = replace(file, error=str(error))
        finally:
            spool.close()
        place.tally.bytes_done += file.size or 0
        await place.close_file(file)

    async def checkpoint(self) -> None:
        """There is nothing between not begun and delivered."""


class _BadRows:
    """The rows that failed before, in their order, behind row ``after``."""

    def __init__(self, place: Workplace, n: int, after: int) -> None:
        path = place.former_folder / SPOOL_FOLDER / f"{n}.bad"
        self._file = path.open("rb") if path.exists() else None
        self._next = self._read()
        while self._next is not None and self._next.row <= after:
            self._next = self._read()

    def take(self, row: int) -> BadRow | None:
        """The failed row of this number, where there is one."""
        found = self._next
        if found is None or found.row != row:
            return None
        self._next = self._read()
        return found

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self) -> BadRow | None:
        line = self._file.readline() if self._file is not None else b""
        return read_row(line) if line else None
