"""What every file's work needs: the store, the queue, the journal, the counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from modelyard.batch.dispatch.dispatcher import Dispatcher
from modelyard.batch.driver.counts import Tally
from modelyard.batch.driver.group_commit import GroupCommit
from modelyard.batch.driver.inputs import destination_of
from modelyard.batch.driver.journal import File, Stage
from modelyard.batch.driver.store_retry import retry_while_unavailable
from modelyard.batch.formats.mapping import Rule
from modelyard.batch.formats.result_names import result_key
from modelyard.batch.spec import SPOOL_FOLDER
from modelyard.domain.batch.run import RunSpec
from modelyard.errors import InvalidRequest
from modelyard.objects.local import Entry
from modelyard.objects.paths import ObjectPath
from modelyard.objects.store import Objects, missing
from modelyard.steps import Step, reached

T = TypeVar("T")


class FileFailed(Exception):
    """One input that cannot be read or computed; the message is its ``error_message``."""


class Undeliverable(Exception):
    """The destination does not take results: the run is over. ``cause``: the store's word."""

    def __init__(self, cause: InvalidRequest) -> None:
        super().__init__(cause.message)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Workplace:
    """``rule``: of ``mapping_type`` csv. ``former``: the folder of the run that is retried, and its
    destination.
    """

    folder: Path
    spec: RunSpec
    objects: Objects
    dispatcher: Dispatcher
    desk: GroupCommit
    tally: Tally
    rule: Rule | None = None
    former: RunSpec | None = None

    def spool_path(self, n: int, kind: str) -> Path:
        """``out``: results, ``bad``: quarantine lines, of file ``n``."""
        return self.folder / SPOOL_FOLDER / f"{n}.{kind}"

    @property
    def former_folder(self) -> Path:
        """The folder of the run that is retried."""
        return self.folder.parent / self.spec.retry_of

    def result_path(self, file: File, spec: RunSpec | None = None) -> ObjectPath:
        """Where the result of ``file`` belongs, in this run or in that of ``spec``."""
        spec = spec or self.spec
        return destination_of(spec).child(result_key(spec.task_id, file.relative))

    async def retried(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return the result of ``call``, retried while the store is unavailable."""
        return await retry_while_unavailable(call, self._report)

    def _report(self, message: str) -> None:
        self.tally.message = message

    async def look(self, file: File) -> File:
        """``file`` with the size and mark it has now. Raises ``FileFailed`` where they changed."""
        entry = await self.read(lambda: self.entry(file.path))
        if file.mark and file.mark != entry.mark:
            raise FileFailed(f"Download file failed. {file.path} changed during the run.")
        if file.size is None:
            self.tally.bytes += entry.size
        return replace(file, size=entry.size, mark=entry.mark)

    async def entry(self, path: ObjectPath) -> Entry:
        """One object as it is now. Raises ``InvalidRequest`` 3551 where there is none."""
        entry = await self.objects.look(path)
        if entry is None:
            raise missing(path)
        return entry

    async def read(self, call: Callable[[], Awaitable[T]]) -> T:
        """Read from the source. Raises ``FileFailed`` where that is in vain."""
        try:
            return await self.retried(call)
        except InvalidRequest as error:
            raise FileFailed(f"Download file failed. {error.message}") from None

    async def deliver(self, file: File, content: bytes | Path) -> None:
        """Write a result. Raises ``Undeliverable``, or ``FileFailed`` where only its name will not
        do.
        """
        path = self.result_path(file)
        try:
            await self.retried(lambda: self.objects.put(path, content, durable=True))
        except InvalidRequest as error:
            if error.code == "3572":
                raise FileFailed(f"Upload file failed. {error.message}") from None
            raise Undeliverable(error) from error
        reached(Step.BATCH_DELIVER)

    async def close_file(self, file: File) -> None:
        """Commit that ``file`` is delivered, or has failed for its ``error``."""
        done = replace(file, stage=Stage.DONE)
        await self.desk.save(done)
        self.spool_path(file.n, "out").unlink(missing_ok=True)
        self.tally.done += 1
        self.tally.failed += bool(done.error)
