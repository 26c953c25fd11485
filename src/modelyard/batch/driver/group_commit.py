"""The journal's one thread, and commits gathered: who saves meanwhile shares the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from modelyard.batch.driver.journal import File, Journal, Stage
from modelyard.steps import Step, reached

P = ParamSpec("P")
R = TypeVar("R")


class GroupCommit:
    """Owns ``journal`` from now on."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._thread = ThreadPoolExecutor(1, "journal")
        self._pending: list[tuple[File, asyncio.Future[None]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def call(self, function: Callable[P, R], *args: P.args, **more: P.kwargs) -> R:
        """Call one of the journal's methods in its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **more))

    async def save(self, file: File) -> None:
        """Have the state of ``file`` committed; when this returns it survives a power cut."""
        saved = asyncio.get_running_loop().create_future()
        self._pending.append((file, saved))
        if self._committing is None:
            self._committing = asyncio.get_running_loop().create_task(self._commit())
        await saved

    async def close(self) -> None:
        """Wait for what is being committed."""
        if self._committing is not None:
            await asyncio.wait([self._committing])
        await self.call(self.journal.close)
        self._thread.shutdown()

    async def _commit(self) -> None:
        try:
            while self._pending:
                taken, self._pending = self._pending, []
                await self._save(taken)
        finally:
            self._committing = None

    async def _save(self, taken: list[tuple[File, asyncio.Future[None]]]) -> None:
        try:
            await self.call(self.journal.save, [file for file, _ in taken])
        except Exception as error:
            for _, saved in taken:
                if not saved.done():
                    saved.set_exception(error)
            return
        if any(file.stage is Stage.DONE for file, _ in taken):
            reached(Step.BATCH_DELIVERED)
        if any(file.stage is not Stage.DONE for file, _ in taken):
            reached(Step.BATCH_CHECKPOINT)
        for _, saved in taken:
            if not saved.done():
                saved.set_result(None)
