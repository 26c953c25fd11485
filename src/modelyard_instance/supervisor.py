"""Keeps one worker alive and hands it one prediction at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from modelyard_instance import replies
from modelyard_instance.logs import RotatingLog
from modelyard_instance.process import WorkerProcess
from modelyard_instance.replies import Reply
from modelyard_instance.spec import Spec
from modelyard_instance.state import FAILED, READY, STARTING

_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 30.0
_STEADY_S = 30.0
"""A worker that served this long has earned an immediate restart."""
_WATCH_AFTER_S = 0.05
"""A prediction that waits longer is watched for its caller's end; a task for each costs 5 %."""

HangUp = Callable[[], Awaitable[object]]


class CallerGone(Exception):
    """The caller hung up before its prediction was begun."""


def backoff_s(crashes: int) -> float:
    """Seconds to wait before the restart after the ``crashes``-th crash in a row. Pure."""
    if crashes <= 1:
        return 0.0
    return min(_LONGEST_BACKOFF_S, _BACKOFF_S * 2.0 ** min(crashes - 2, 20))


@dataclass(slots=True, eq=False)
class _Job:
    header: bytes
    body: bytes
    answer: asyncio.Future[Reply]
    sent_at: float = field(default=0.0)


class Supervisor:
    """One worker, replaced when it dies; predictions queue here while it computes.

    ``phase`` is ``starting``, ``ready`` or ``failed`` (final: the package cannot be loaded),
    ``message`` says why. ``on_change`` is called after either has changed. ``losses`` counts the
    workers that died after they had been ready, ``last_loss`` is why the latest did.
    """

    def __init__(
        self, spec: Spec, folder: Path, log: RotatingLog, on_change: Callable[[], None]
    ) -> None:
        self.phase = STARTING
        self.message = "loading the model"
        self.losses = 0
        self.last_loss = ""
        self._spec = spec
        self._folder = folder
        self._log = log
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Job] = deque()
        self._current: _Job | None = None
        self._worker: WorkerProcess | None = None
        self._overran = False
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the worker and keep it alive until ``close``."""
        self._keeper = self._loop.create_task(self._keep(), name="worker-keeper")

    def fail(self, message: str) -> None:
        """Give up for good: nothing can be served."""
        self._turn(FAILED, message)
        for job in self._queue:
            if not job.answer.done():
                job.answer.set_result(replies.unavailable(message))
        self._queue.clear()

    def abandon(self) -> None:
        """Answer whoever still waits: the end has come first."""
        if self._current is not None and not self._current.answer.done():
            self._current.answer.set_result(replies.cut_off())
        for job in self._queue:
            if not job.answer.done():
                job.answer.set_result(replies.unavailable("The instance is being stopped."))

    async def close(self) -> None:
        """End the worker; predictions under way are lost."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._worker is not None:
            await self._worker.close()

    async def predict(self, header: bytes, body: bytes, hang_up: HangUp) -> Reply:
        """The worker's answer, or the reply that says why there is none.

        ``hang_up`` returns once the caller has hung up. Raises ``CallerGone`` when it does so while
        the prediction waits; it is not computed then.
        """
        if self.phase != READY:
            return replies.unavailable(f"The model is not ready: {self.message}.")
        job = _Job(header, body, self._loop.create_future())
        timer = self._loop.call_later(self._spec.request_timeout_s, self._overdue, job)
        watch: asyncio.TimerHandle | None = None
        if self._current is None:
            self._give(job)
        else:
            self._queue.append(job)
            watch = self._loop.call_later(_WATCH_AFTER_S, self._watch, job, hang_up)
        try:
            return await job.answer
        finally:
            timer.cancel()
            if watch is not None:
                watch.cancel()

    def _watch(self, job: _Job, hang_up: HangUp) -> None:
        if job in self._queue and not job.answer.done():
            task = self._loop.create_task(self._drop_unwanted(job, hang_up))
            job.answer.add_done_callback(lambda _: task.cancel())

    async def _drop_unwanted(self, job: _Job, hang_up: HangUp) -> None:
        await hang_up()
        if job in self._queue and not job.answer.done():
            self._queue.remove(job)
            job.answer.set_exception(CallerGone())

    def _give(self, job: _Job) -> None:
        assert self._worker is not None
        self._current = job
        job.sent_at = self._loop.time()
        self._worker.send(job.header, job.body)

    def _give_next(self) -> None:
        while self._queue and self.phase == READY:
            job = self._queue.popleft()
            if not job.answer.done():
                self._give(job)
                return

    def _on_frame(self, header: bytes, body: bytes) -> None:
        if self.phase == STARTING:
            self._greeted(header)
            return
        job, self._current = self._current, None
        if job is not None and not job.answer.done():
            job.answer.set_result(_reply(header, body))
        self._give_next()

    def _greeted(self, header: bytes) -> None:
        word = orjson.loads(header)
        if word.get("event") == "ready":
            self._turn(READY, "")
            self._give_next()
        else:
            self.fail(str(word.get("message") or "the model could not be loaded"))

    def _overdue(self, job: _Job) -> None:
        """The caller has waited long enough; the worker has its own full time from the start."""
        if not job.answer.done():
            job.answer.set_result(replies.timed_out(self._spec.request_timeout_s))
        if job is self._current:
            left = job.sent_at + self._spec.request_timeout_s - self._loop.time()
            self._loop.call_later(max(0.0, left), self._overrun, job)

    def _overrun(self, job: _Job) -> None:
        if job is self._current and self._worker is not None:
            self._overran = True
            self._worker.kill()

    def _turn(self, phase: str, message: str) -> None:
        self.phase, self.message = phase, message
        self._on_change()

    async def _keep(self) -> None:
        crashes = 0
        while self.phase != FAILED:
            started = self._loop.time()
            try:
                worker = await WorkerProcess.start(
                    self._spec, self._folder, self._log, self._on_frame
                )
            except OSError as error:
                self.fail(f"the model's process cannot be started: {error}")
                return
            self._worker = worker
            cause = await asyncio.shield(worker.ended)
            self._worker = None
            if self.phase == STARTING:
                self.fail(f"the model's process died while it loaded the model: {cause}")
            if self.phase == FAILED:
                return
            crashes = 1 if self._loop.time() - started > _STEADY_S else crashes + 1
            self._lost(cause)
            await asyncio.sleep(backoff_s(crashes))

    def _lost(self, cause: str) -> None:
        if self._overran:
            self._overran = False
            limit = self._spec.request_timeout_s
            cause = f"a prediction ran longer than {limit:g} s and the process was ended"
        job, self._current = self._current, None
        if job is not None and not job.answer.done():
            job.answer.set_result(replies.worker_lost(cause))
        self.losses, self.last_loss = self.losses + 1, cause
        self._log.write("front", f"worker lost: {cause}".encode())
        self._turn(STARTING, f"restarting the model's process: {cause}")


def _reply(header: bytes, body: bytes) -> Reply:
    if not header:
        return Reply(body)
    more = orjson.loads(header)
    return Reply(
        body, int(more.get("status", 200)), str(more.get("type", "application/json")).encode()
    )
