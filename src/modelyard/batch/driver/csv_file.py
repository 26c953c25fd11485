"""One CSV file: cut, mapped, sent row by row, its answers spooled in the order of the rows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from modelyard.batch.dispatch.payload import (
    answer_line,
    encode,
    error_line,
    fault_of,
    is_form,
    row_form,
)
from modelyard.batch.dispatch.work import Sink, Work
from modelyard.batch.driver.journal import File, Stage
from modelyard.batch.driver.spool import ShortSpool, Spool
from modelyard.batch.driver.workplace import FileFailed, Workplace
from modelyard.batch.formats import csv_records, quarantine
from modelyard.batch.formats.mapping import RowError
from modelyard.batch.formats.quarantine import BadRow
from modelyard.domain.batch.run import JSON
from modelyard.steps import Step, reached

_PIECE = 1 << 19
_SLICE = 128
_MOST_ROWS = 16_384
_MOST_BYTES = 24 * 1024 * 1024
"""Rows, and their bytes, between the oldest without an answer and the newest that was sent."""
_SMALL = 1 << 18
"""Bytes of results that are delivered at once, without a checkpoint."""
UNREADABLE = "ModelArts.4105"
_NO_ANSWER = "ModelArts.4503"


class Row(Work):
    """``number``: record number from 1. ``at``: its byte offset in the input; ``end``: where the
    cursor stands behind it. ``line``: its answer; ``fault``: code and message of a failed one.
    """

    __slots__ = ("at", "end", "fault", "line", "number", "raw")

    def __init__(self, sink: Sink, number: int, at: int, end: int, raw: bytes) -> None:
        super().__init__(sink, JSON, b"")
        self.number = number
        self.at = at
        self.end = end
        self.raw = raw
        self.line: bytes | None = None
        self.fault: tuple[str, str] | None = None


class CsvRun:
    """The work on one file; ``file`` is where it stands, as far as its spool goes."""

    def __init__(self, place: Workplace, file: File) -> None:
        self.file = file
        self._place = place
        self._window: deque[Row] = deque()
        self._held = 0
        self._moved = asyncio.Event()
        self._over = False
        self._out: Spool | None = None
        self._bad: Spool | None = None
        self._saving = asyncio.Lock()
        self._broken: OSError | None = None
        self._given = file.rows
        self._saved = file
        self._rows, self._ok, self._failed = file.rows, file.ok, file.failed
        self._offset = file.offset

    async def run(self) -> None:
        """Do what is left to do. Raises ``Undeliverable``, ``Unavailable``, ``OSError``."""
        try:
            if self.file.stage is Stage.COMPUTED and not self._spool_is_whole():
                self._begin_again()
            if self.file.stage is Stage.OPEN:
                if self.file.fault:
                    raise FileFailed(self.file.fault)
                await self._compute()
            if not self.file.error:
                path = self._place.spool_path(self.file.n, "out")
                await self._place.deliver(self.file, path if self.file.spool else b"")
            await self._finish()
        except FileFailed as error:
            await self._drop()
            self._place.spool_path(self.file.n, "bad").unlink(missing_ok=True)
            count = self._place.tally
            count.rows -= self._rows
            count.rows_failed -= self._failed
            count.bytes_done += (self.file.size or 0) - self._offset
            failed = replace(self.file, error=str(error), rows=0, ok=0, failed=0, quarantine=0)
            await self._place.close_file(failed)
        finally:
            await self._drop()

    async def checkpoint(self) -> None:
        """Sync what is spooled and commit how far that is; nothing where nothing moved."""
        async with self._saving:
            if self._out is None or self._over or self._broken or self._rows == self._saved.rows:
                return
            await self._save(Stage.OPEN)

    # Reading -----------------------------------------------------------------------------------

    async def _compute(self) -> None:
        await self._look()
        self._open()
        await self._feed()
        while self._window:
            await self._progress()
        if self._failed and not self._ok:
            self.file = replace(self.file, error=await asyncio.to_thread(self._why_none))
        async with self._saving:
            await self._settle()
            self._over = True

    async def _settle(self) -> None:
        """Keep what was computed, unless that would cost more than to compute it again."""
        out, bad = self._out, self._bad
        assert out is not None
        assert bad is not None
        if self._saved.rows or out.length > _SMALL:
            await self._save(Stage.COMPUTED)
            return
        self.file = self._now(Stage.COMPUTED)
        if bad.length:
            await asyncio.to_thread(bad.sync)

    async def _look(self) -> None:
        self.file = await self._place.look(self.file)
        limit, size = self._place.spec.csv_limit, self.file.size or 0
        if limit and size > limit:
            raise FileFailed(f"The file has {size} bytes, more than the {limit} that are allowed.")

    def _open(self) -> None:
        place, file = self._place, self.file
        try:
            self._out = Spool(place.spool_path(file.n, "out"), file.spool)
            self._bad = Spool(place.spool_path(file.n, "bad"), file.quarantine)
        except ShortSpool:
            self._begin_again()
            self._out = Spool(place.spool_path(file.n, "out"))
            self._bad = Spool(place.spool_path(file.n, "bad"))

    def _begin_again(self) -> None:
        """From the first row: a disk has lost what it had synced."""
        file, tally = self.file, self._place.tally
        tally.rows -= file.rows
        tally.rows_failed -= file.failed
        tally.bytes_done -= file.offset
        self.file = self._saved = replace(
            file,
            stage=Stage.OPEN,
            error="",
            rows=0,
            offset=0,
            spool=0,
            quarantine=0,
            ok=0,
            failed=0,
        )
        self._given = self._rows = self._ok = self._failed = self._offset = 0

    async def _feed(self) -> None:
        """Give all rows from the cursor on."""
        objects, file = self._place.objects, self.file
        at, size = self._offset, file.size or 0
        cutter = csv_records.Cutter(at)
        try:
            while at < size:
                begin = at
                piece = await self._place.read(
                    lambda: objects.part(file.path, begin, min(begin + _PIECE, size), file.mark)  # noqa: B023
                )
                if not piece:
                    raise FileFailed(f"Download file failed. {file.path} ends at byte {at}.")
                at += len(piece)
                await self._give(cutter.feed(piece))
            await self._give(cutter.finish())
        except csv_records.RecordTooLong as error:
            raise FileFailed(f"Download file failed. {file.path}: {error}") from None

    async def _give(self, records: Sequence[csv_records.Record]) -> None:
        for start in range(0, len(records), _SLICE):
            await self._room()
            taken = records[start : start + _SLICE]
            given = []
            for (at, raw), columns in zip(
                taken, csv_records.parse([raw for _, raw in taken]), strict=True
            ):
                self._given += 1
                row = Row(self, self._given, at, at + len(raw), raw)
                self._fill(row, columns)
                given.append(row)
            self._put(given)

    def _fill(self, row: Row, columns: list[str] | RowError) -> None:
        """Make the request of a row, or say at once why it has none."""
        rule = self._place.rule
        assert rule is not None
        try:
            if isinstance(columns, RowError):
                raise columns
            value = rule.build(columns)
            kind = self._place.spec.content_type
            row.kind, row.body = row_form(value) if is_form(kind) else (kind, encode(value))
        except ValueError as error:
            self._fail(row, UNREADABLE, str(error))

    async def _room(self) -> None:
        await self._place.dispatcher.room()
        while len(self._window) >= _MOST_ROWS or self._held >= _MOST_BYTES:
            await self._progress()

    async def _progress(self) -> None:
        """Wait until rows have been spooled. Raises ``OSError`` when they could not be."""
        self._moved.clear()
        if self._broken is None:
            await self._moved.wait()
        if self._broken is not None:
            raise self._broken

    def _put(self, given: list[Row]) -> None:
        self._window.extend(given)
        self._held += sum([len(row.raw) + len(row.line or b"") for row in given])
        self._place.dispatcher.put([row for row in given if row.line is None])
        self._advance()

    # Answers -----------------------------------------------------------------------------------

    def done(self, work: Work, status: int, body: bytes) -> None:
        if self._over or not isinstance(work, Row):
            return
        if 200 <= status < 300:
            work.line = answer_line(body)
        elif status == 0:
            self._fail(work, _NO_ANSWER, body.decode())
        else:
            self._fail(work, *fault_of(status, body))
        work.body = b""
        self._held += len(work.line or b"")
        if work is not self._window[0]:
            return
        try:
            self._advance()
        except OSError as error:
            # The connection's callback must not keep it; nothing is computed or kept behind it.
            self._broken = error
            self._moved.set()

    def _fail(self, row: Row, code: str, message: str) -> None:
        row.fault = code, message
        row.line = error_line(code, message)

    def _advance(self) -> None:
        """Spool the answers up to the oldest that is missing."""
        window, out, tally = self._window, self._out, self._place.tally
        assert out is not None
        before, begun = self._rows, self._offset
        while window and (line := window[0].line) is not None:
            row = window.popleft()
            out.add(line)
            self._held -= len(row.raw) + len(line)
            self._rows += 1
            self._offset = row.end
            if row.fault is None:
                self._ok += 1
            else:
                self._failed += 1
                tally.rows_failed += 1
                self._quarantine(row, *row.fault)
        tally.rows += self._rows - before
        tally.bytes_done += self._offset - begun
        if self._rows != before:
            self._moved.set()

    def _quarantine(self, row: Row, code: str, message: str) -> None:
        assert self._bad is not None
        bad = BadRow(row.number, row.at, code, message, row.raw)
        self._bad.add(quarantine.row_line(self.file.source, bad))

    # Keeping -----------------------------------------------------------------------------------

    def _now(self, stage: Stage) -> File:
        """Where the file stands, with all of it in its spools."""
        out, bad = self._out, self._bad
        assert out is not None
        assert bad is not None
        out.flush()
        bad.flush()
        return replace(
            self.file,
            stage=stage,
            rows=self._rows,
            offset=self._offset,
            spool=out.length,
            quarantine=bad.length,
            ok=self._ok,
            failed=self._failed,
        )

    async def _save(self, stage: Stage) -> None:
        now = self._now(stage)
        await asyncio.to_thread(_sync, self._out, self._bad)
        reached(Step.BATCH_SPOOL)
        await self._place.desk.save(now)
        self._saved = now
        if stage is not Stage.OPEN:
            self.file = now

    def _spool_is_whole(self) -> bool:
        path = self._place.spool_path(self.file.n, "out")
        return path.exists() and path.stat().st_size == self.file.spool

    def _why_none(self) -> str:
        assert self._bad is not None
        self._bad.flush()
        with self._bad.path.open("rb") as file:
            first = quarantine.read_row(file.readline())
        if self._failed == 1:
            return f"Its only row failed: {first.message}"
        return f"All {self._failed} rows failed; the first: {first.message}"

    async def _finish(self) -> None:
        if not self.file.quarantine:
            self._place.spool_path(self.file.n, "bad").unlink(missing_ok=True)
        self._place.tally.bytes_done += (self.file.size or 0) - self._offset
        await self._place.close_file(self.file)

    async def _drop(self) -> None:
        """No answer matters any more, and no checkpoint comes behind this."""
        self._over = True
        self._window.clear()
        async with self._saving:
            for spool in (self._out, self._bad):
                if spool is not None:
                    spool.close()


def _sync(*spools: Spool | None) -> None:
    for spool in spools:
        if spool is not None:
            spool.sync()
