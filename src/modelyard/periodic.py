"""A task that does something again and again, and that its owner can stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)


class Periodic:
    """Awaits ``action()``, then pauses ``period_s`` seconds; an error is logged and survived."""

    def __init__(self, name: str, period_s: float, action: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._period_s = period_s
        self._action = action
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self._action()
            except Exception:
                log.exception("periodic work failed", name=self._name)
            await asyncio.sleep(self._period_s)
