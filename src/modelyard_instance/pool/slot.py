"""The place of one worker: its process, what it has been given, its replacement."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from typing import Protocol

from modelyard_instance import replies
from modelyard_instance.backoff import delay
from modelyard_instance.frames import cancel
from modelyard_instance.headers import Greeting, ReplyHeader
from modelyard_instance.logs import RotatingLog
from modelyard_instance.pool.jobs import Job, Pacing
from modelyard_instance.pool.launcher import Launcher
from modelyard_instance.pool.process import WorkerProcess
from modelyard_instance.replies import Reply

_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 30.0
_STEADY_S = 30.0
"""A worker that served this long has earned an immediate restart."""


class Owner(Protocol):
    """Who is told what becomes of a slot (``Supervisor``). ``log``: for what the worker prints."""

    log: RotatingLog

    @property
    def over(self) -> bool:
        """Whether nothing will ever be served again."""

    def free(self, slot: Slot) -> None:
        """It has answered."""

    def greeted(self, slot: Slot) -> None:
        """It is ready."""

    def cannot_load(self, slot: Slot, message: str) -> bool:
        """It could not load the model; returns whether to try again."""

    def lost(self, slot: Slot, cause: str, again: list[Job]) -> None:
        """Its worker died; ``again`` has not been begun, or may be begun again."""


class Slot:
    """``ready``: its worker has loaded the model. ``sent``: what it was given, oldest first.

    ``tensors``: inputs and outputs, of a model that speaks the Open Inference Protocol.
    ``limit_s``: how long one prediction may take. ``cpu``: cores of its worker.
    """

    def __init__(
        self, number: int, limit_s: float, cpu: float, launcher: Launcher, owner: Owner
    ) -> None:
        self.number = number
        self.ready = False
        self.tensors: dict[str, object] | None = None
        self.sent: deque[Job] = deque()
        self._limit_s = limit_s
        self._cpu = cpu
        self._launcher = launcher
        self._owner = owner
        self._worker: WorkerProcess | None = None
        self._batch = 1
        self._pace = Pacing()
        self._begun = 0.0
        self._overran = False
        self._deaf = False
        self._given = self._cancelled = 0
        self._failure: str | None = None
        self._early: list[tuple[bytes, bytes]] = []
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the worker and keep it alive until ``close``; once."""
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(
                self._keep(), name=f"worker-keeper-{self.number}"
            )

    async def close(self) -> None:
        """End the worker; predictions under way are lost."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._worker is not None:
            await self._worker.close()

    def room(self, *, ahead: bool) -> int:
        """How many predictions it may be given now (``jobs.Pacing.room``)."""
        if self.sent and self.sent[0].alone:
            return 0
        return self._pace.room(self._batch, len(self.sent), ahead=ahead)

    def give(self, jobs: list[Job]) -> None:
        """Send ``jobs`` to the worker."""
        worker = self._worker
        assert worker is not None
        if not self.sent:
            self._begun = time.monotonic()
        self.sent.extend(jobs)
        self._given += len(jobs)
        worker.send(*[(job.header, job.body) for job in jobs])

    def look(self, now: float) -> None:
        """End the worker when it computes the oldest prediction for longer than it may."""
        over = now - self._begun >= self._limit_s
        if over and self._deaf:
            # It is the caller who does not go on.
            self.sent[0].caller.cut()
            self._cancel()
            self._hear(True)
            return
        if over and not self._overran and self._worker is not None:
            self._overran = True
            self._worker.kill()

    def _on_frames(self, frames: list[tuple[bytes, bytes]]) -> None:
        if not self.ready:
            if self._worker is None:  # quicker than the front
                self._early += frames
            else:
                self._greeted(frames[0][0])
            return
        now = time.monotonic()
        self._pace.note(now - self._begun, len(frames))
        self._begun = now
        for header, body in frames:
            if not header:
                self.sent.popleft().caller.answer_json(body)
                continue
            reply = ReplyHeader.decode(header)
            if reply.more is None:
                answer = Reply(body, reply.status, reply.content_type.encode())
                self.sent.popleft().caller.answer(answer)
            else:
                self._piece(reply, body)
        self._owner.free(self)

    def _piece(self, reply: ReplyHeader, body: bytes) -> None:
        """A piece of the oldest answer; its time runs anew."""
        job = self.sent[0]
        caller = job.caller
        if not reply.more:
            self.sent.popleft()
            caller.flow = None
            caller.end(whole=not reply.broken, error=body)
            return
        job.deadline = self._begun + self._limit_s
        if caller.done:
            self._cancel()
            return
        if reply.first:
            caller.flow = self._hear
            caller.begin(reply.status, reply.content_type.encode())
        caller.chunk(body)

    def _cancel(self) -> None:
        """Tell the worker that nobody waits for the oldest answer any more."""
        number = self._given - len(self.sent) + 1
        if self._worker is not None and number != self._cancelled:
            self._cancelled = number
            self._worker.send((cancel(number), b""))

    def _hear(self, more: bool) -> None:
        """The caller of the oldest answer has caught up, or not."""
        if self._worker is not None:
            self._begun = time.monotonic()
            self._deaf = not more
            self._worker.hear(more)

    def _greeted(self, header: bytes) -> None:
        greeting = Greeting.decode(header)
        if greeting.ready:
            self._batch = greeting.batch
            self.tensors = greeting.v2
            self.ready = True
            self._owner.greeted(self)
        else:
            self._failure = greeting.message or "the model could not be loaded"
            if self._worker is not None:
                self._worker.kill()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        crashes = 0
        while not self._owner.over:
            started = loop.time()
            self._failure = None
            self._given = self._cancelled = 0
            self._deaf = False
            try:
                self._worker = await WorkerProcess.start(
                    self._launcher, self._owner.log, self._on_frames, self.number, self._cpu
                )
            except OSError as error:
                self._failure = f"the model's process cannot be started: {error}"
                cause = self._failure
            else:
                early, self._early = self._early, []
                if early:
                    self._on_frames(early)
                cause = await asyncio.shield(self._worker.ended)
            self._worker = None
            served, self.ready = self.ready, False
            if not served:
                message = self._failure or (
                    f"the model's process died while it loaded the model: {cause}"
                )
                if not self._owner.cannot_load(self, message):
                    return
            crashes = 1 if served and loop.time() - started > _STEADY_S else crashes + 1
            if served:
                self._lost(cause)
            # The first restart is immediate.
            pause = delay(crashes - 1, _BACKOFF_S, _LONGEST_BACKOFF_S, random.random())  # noqa: S311
            await asyncio.sleep(pause)

    def _lost(self, cause: str) -> None:
        """Answer for what was being computed; what lay behind it is begun elsewhere, or later."""
        if self._overran:
            self._overran = False
            limit = self._limit_s
            cause = f"a prediction ran longer than {limit:g} s and the process was ended"
        given, self.sent = list(self.sent), deque()
        self._pace = Pacing()
        if self._batch == 1 or len(given) == 1:
            # Told first: whoever reads the answer finds the state that goes with it.
            self._owner.lost(self, cause, given[1:])
            for job in given[:1]:
                if job.caller.flow is None:
                    job.caller.answer(replies.worker_lost(cause))
                else:
                    job.caller.end(whole=False)
            return
        # Any of a batch may be the guilty one; the others must not pay for it.
        for job in given:
            job.alone = True
        self._owner.lost(self, cause, given)
