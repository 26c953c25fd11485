"""One run from its ``run.json`` to its ``result.json``, through any number of processes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import uvloop

from modelyard.batch.dispatch.dispatcher import Dispatcher
from modelyard.batch.driver import inputs
from modelyard.batch.driver.counts import Tally
from modelyard.batch.driver.csv_file import CsvRun
from modelyard.batch.driver.group_commit import GroupCommit
from modelyard.batch.driver.journal import BadFormer, File, Former, Journal
from modelyard.batch.driver.outputs import write_manifests, write_quarantine
from modelyard.batch.driver.retry import KeepFile, RetryRun
from modelyard.batch.driver.store_retry import retry_while_unavailable
from modelyard.batch.driver.whole_file import FileRun
from modelyard.batch.driver.workplace import Undeliverable, Workplace
from modelyard.batch.formats.mapping import BadRule, parse_rule
from modelyard.batch.spec import (
    ENDPOINTS_FILE,
    JOURNAL_FILE,
    LOCK_FILE,
    SPOOL_FOLDER,
    BadRun,
    read_endpoints,
    read_result,
    read_run,
    write_progress,
    write_result,
)
from modelyard.domain.batch.run import Progress, Result, RunSpec
from modelyard.domain.service.batch_job import MANIFEST
from modelyard.errors import ModelyardError, Problem, refuse
from modelyard.objects.store import Objects
from modelyard.steps import Step, reached

_LOOK_S = 0.1
_TELL_S = 0.5
_CHECKPOINT_S = 1.0
_PAGE = 256
_AT_ONCE = {"csv": 16, "file": 32}
"""Files in progress."""


class Job(Protocol):
    """The work on one file."""

    async def run(self) -> None: ...
    async def checkpoint(self) -> None: ...


def drive(folder: Path, objects: Objects) -> int:
    """Carry the run in ``folder`` on to its end, or until SIGTERM; the exit status.

    Nothing is done where another driver has it, or where it is over. Raises ``BadRun``.
    """
    with contextlib.ExitStack() as held:
        lock = held.enter_context((folder / LOCK_FILE).open("ab"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        if read_result(folder) is not None:
            return 0
        (folder / SPOOL_FOLDER).mkdir(mode=0o700, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_Driver(folder, read_run(folder), objects).run())


@dataclass(slots=True)
class _Driver:
    folder: Path
    spec: RunSpec
    objects: Objects
    tally: Tally = field(default_factory=Tally)
    jobs: set[Job] = field(default_factory=set)
    stopping: list[asyncio.Future[None]] = field(default_factory=list)

    async def run(self) -> int:
        self.tally.by_rows = self.spec.mapping_type == "csv"
        work = asyncio.ensure_future(self._work())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, work)
        telling = loop.create_task(_every(_TELL_S, self._tell_if_possible))
        try:
            result = await work
        except asyncio.CancelledError:
            self._tell()
            return 0
        finally:
            telling.cancel()
        self.tally.phase = "done"
        self._tell()
        write_result(self.folder, result)
        reached(Step.BATCH_RESULT)
        return 0

    def _stop(self, work: asyncio.Future[Result]) -> None:
        """Keep what there is, then end."""
        if not self.stopping:
            self.stopping.append(asyncio.ensure_future(self._checkpoint()))
            self.stopping[0].add_done_callback(lambda _: work.cancel())

    async def _checkpoint(self) -> None:
        await asyncio.gather(*(job.checkpoint() for job in list(self.jobs)))

    def _tell_if_possible(self) -> None:
        # A disk that is full for a moment is no reason to be silent from then on.
        with contextlib.suppress(OSError):
            self._tell()

    def _tell(self) -> None:
        write_progress(self.folder, self._progress(self.tally.phase))

    async def _work(self) -> Result:
        desk = GroupCommit(Journal((self.folder / JOURNAL_FILE).absolute()))
        dispatcher = Dispatcher(self.spec)
        try:
            return await self._through(desk, dispatcher)
        except (ModelyardError, Undeliverable, ExceptionGroup) as error:
            cause = _cause(error)
            if cause is None:
                raise
            return Result("failed", self._progress("done"), cause.code, cause.message)
        finally:
            await dispatcher.close()
            await desk.close()

    async def _through(self, desk: GroupCommit, dispatcher: Dispatcher) -> Result:
        """All of the run. Raises ``ModelyardError`` where it cannot go on."""
        place = self._place(desk, dispatcher)
        await asyncio.to_thread(self.objects.sweep)
        await retry_while_unavailable(lambda: inputs.check(self.objects, self.spec), self._say)
        if not await desk.call(lambda: desk.journal.listed):
            await self._list(place)
        self.tally.start(await desk.call(desk.journal.totals))
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(_every(_LOOK_S, _Watch(self.folder, dispatcher).look)),
                group.create_task(_every(1.0, dispatcher.look)),
                group.create_task(self._keep()),
            ]
            await self._files(place)
            for helper in helpers:
                helper.cancel()
        self.tally.phase = "delivering"
        manifests = await write_manifests(place)
        written = await write_quarantine(place)
        return Result(
            "finished", self._progress("done"), manifests=tuple(manifests), quarantine=written
        )

    def _place(self, desk: GroupCommit, dispatcher: Dispatcher) -> Workplace:
        spec, former, rule = self.spec, None, None
        if spec.mapping_type == "csv":
            try:
                rule = parse_rule(spec.mapping_rule)
            except BadRule as error:
                problems = [Problem("mapping_rule", one, "") for one in error.problems]
                raise refuse(problems) from None
        if spec.retry_of:
            try:
                former = read_run(self.folder.parent / spec.retry_of)
            except BadRun as error:
                raise _no_former(spec) from error
        return Workplace(
            self.folder, spec, self.objects, dispatcher, desk, self.tally, rule, former
        )

    async def _list(self, place: Workplace) -> None:
        """Write down what there is to do. Raises ``ModelyardError``."""
        desk, spec = place.desk, self.spec
        if spec.retry_of:
            try:
                await desk.call(desk.journal.adopt, place.former_folder / JOURNAL_FILE)
            except BadFormer:
                raise _no_former(spec) from None
        else:
            await retry_while_unavailable(lambda: self._find(desk), self._say)
            source = inputs.source_of(spec)
            prefix = None if spec.source_type == MANIFEST else source.key
            if not await desk.call(desk.journal.settle_listing, prefix):
                raise inputs.nothing_in(source)
        reached(Step.BATCH_LISTED)

    async def _find(self, desk: GroupCommit) -> None:
        await desk.call(desk.journal.forget_listing)
        self.tally.files = self.tally.bytes = 0
        async for page in inputs.listing(self.objects, self.spec):
            await desk.call(desk.journal.add, page)
            self.tally.files += len(page)
            self.tally.bytes += sum(one.size or 0 for one in page)

    async def _files(self, place: Workplace) -> None:
        """Work through all files, several at once."""
        files = _unfinished(place.desk)
        taking = asyncio.Lock()

        async def work() -> None:
            while True:
                async with taking:
                    file = await anext(files, None)
                if file is None:
                    return
                job = _job(place, file)
                self.jobs.add(job)
                try:
                    await job.run()
                finally:
                    self.jobs.discard(job)

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE[self.spec.mapping_type]):
                group.create_task(work())

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_CHECKPOINT_S)
            await self._checkpoint()

    def _say(self, message: str) -> None:
        self.tally.message = message

    def _progress(self, phase: str) -> Progress:
        self.tally.phase = phase
        return self.tally.progress(asyncio.get_running_loop().time())


class _Watch:
    """Reads ``endpoints.json`` again when it is another one."""

    def __init__(self, folder: Path, dispatcher: Dispatcher) -> None:
        self._folder = folder
        self._dispatcher = dispatcher
        self._seen: tuple[int, int] | None = None

    def look(self) -> None:
        try:
            info = (self._folder / ENDPOINTS_FILE).stat()
        except FileNotFoundError:
            return
        if (info.st_mtime_ns, info.st_ino) == self._seen:
            return
        with contextlib.suppress(BadRun):
            self._dispatcher.use(read_endpoints(self._folder))
            self._seen = info.st_mtime_ns, info.st_ino


def _job(place: Workplace, file: File) -> Job:
    if place.spec.mapping_type == "csv":
        return CsvRun(place, file) if file.former is Former.AGAIN else RetryRun(place, file)
    return FileRun(place, file) if file.former is Former.AGAIN else KeepFile(place, file)


async def _unfinished(desk: GroupCommit) -> AsyncIterator[File]:
    after = 0
    while page := await desk.call(desk.journal.unfinished, after, _PAGE):
        for file in page:
            yield file
        after = page[-1].n


async def _every(seconds: float, call: Callable[[], None]) -> None:
    while True:
        call()
        await asyncio.sleep(seconds)


def _no_former(spec: RunSpec) -> ModelyardError:
    reason = f"the run {spec.retry_of} left nothing that could be tried again"
    return refuse([Problem("retry_of", reason, "Start a new run.", code="3519")])


def _cause(error: BaseException) -> ModelyardError | None:
    """Why the run cannot go on; None where it is a fault of ours."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Undeliverable):
        return error.cause
    return error if isinstance(error, ModelyardError) else None
