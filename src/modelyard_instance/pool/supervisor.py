"""Keeps the workers alive and gives predictions to them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from modelyard_instance import replies
from modelyard_instance.logs import RotatingLog
from modelyard_instance.pool.jobs import Caller, Job, next_batch
from modelyard_instance.pool.launcher import Launcher
from modelyard_instance.pool.slot import Slot
from modelyard_instance.replies import Reply
from modelyard_instance.spec import Spec
from modelyard_instance.state import FAILED, READY, STARTING

_LONGEST_TICK_S = 0.25
_TICKS_PER_LIMIT = 50


class Supervisor:
    """``workers`` workers, each replaced by itself when it dies; predictions queue here meanwhile.

    ``phase`` is ``starting``, ``ready`` (at least one worker is) or ``failed`` (final: the package
    cannot be loaded), ``message`` says why. ``on_change`` is called after either has changed.
    ``losses`` counts the workers that died after they had been ready, ``last_loss`` is why the
    latest did.
    """

    def __init__(
        self,
        spec: Spec,
        launcher: Launcher,
        log: RotatingLog,
        on_change: Callable[[], None],
        workers: int = 1,
    ) -> None:
        self.phase = STARTING
        self.message = "loading the model"
        self.losses = 0
        self.last_loss = ""
        self._spec = spec
        self.log = log
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Job] = deque()
        self._tick_s = min(_LONGEST_TICK_S, spec.request_timeout_s / _TICKS_PER_LIMIT)
        self._ticking: asyncio.TimerHandle | None = None
        self._slots = [
            Slot(number, spec.request_timeout_s, spec.cpu / workers, launcher, self)
            for number in range(workers)
        ]
        # Reading ahead ties a prediction to one worker, while another might be free sooner.
        self._ahead = workers == 1

    def start(self) -> None:
        """Start the first worker; the others follow when it has shown that the package loads."""
        self._slots[0].start()

    def fail(self, message: str) -> None:
        """Give up for good: nothing can be served."""
        self._turn(FAILED, message)
        self._refuse_waiting(message)

    def abandon(self) -> None:
        """Answer whoever still waits: the end has come first."""
        for slot in self._slots:
            for job in slot.sent:
                if job.caller.flow is None:
                    job.caller.answer(replies.cut_off())
                else:
                    job.caller.end(whole=False)
        self._refuse_waiting("The instance is being stopped.")

    def _refuse_waiting(self, message: str) -> None:
        waiting, self._queue = self._queue, deque()
        for job in waiting:
            job.caller.answer(replies.unavailable(message))

    async def close(self) -> None:
        """End the workers; predictions under way are lost."""
        if self._ticking is not None:
            self._ticking.cancel()
        await asyncio.gather(*(slot.close() for slot in self._slots))

    def submit(self, caller: Caller, header: bytes, body: bytes) -> None:
        """Answer ``caller`` by a worker's answer, or the reply that says why there is none.

        One who hangs up (``done``) before the prediction was begun is left out.
        """
        if self.phase != READY:
            caller.answer(replies.unavailable(f"The model is not ready: {self.message}."))
            return
        deadline = time.monotonic() + self._spec.request_timeout_s
        job = Job(caller, header, body, deadline)
        if self._ticking is None:
            self._ticking = self._loop.call_later(self._tick_s, self._tick)
        if not self._queue:
            for slot in self._slots:
                if slot.ready and slot.room(ahead=False):
                    slot.give([job])
                    return
            if self._ahead and self._slots[0].ready and self._slots[0].room(ahead=True):
                self._slots[0].give([job])
                return
        self._queue.append(job)

    @property
    def ready_workers(self) -> int:
        """How many workers have loaded the model."""
        return sum(slot.ready for slot in self._slots)

    @property
    def tensors(self) -> dict[str, object] | None:
        """``Slot.tensors`` of any worker that has loaded the model."""
        return next((slot.tensors for slot in self._slots if slot.tensors), None)

    @property
    def over(self) -> bool:
        """Whether the instance has failed for good."""
        return self.phase == FAILED

    # What the slots tell ---------------------------------------------------------------------

    def free(self, slot: Slot) -> None:
        """``slot`` is ready, or has answered: give it what waits."""
        if self._queue and slot.ready:
            idle = not slot.sent
            jobs = next_batch(self._queue, slot.room(ahead=self._ahead), idle=idle)
            if jobs:
                slot.give(jobs)

    def greeted(self, slot: Slot) -> None:
        """``slot`` has loaded the model."""
        if self.phase == STARTING:
            self._turn(READY, "")
        for other in self._slots:
            other.start()
        self.free(slot)

    def cannot_load(self, slot: Slot, message: str) -> bool:
        """``slot`` could not load the model; returns whether it should try again."""
        self.log.write("front", f"worker {slot.number}: {message}".encode())
        if any(other.ready for other in self._slots):
            return True
        self.fail(message)
        return False

    def lost(self, slot: Slot, cause: str, again: list[Job]) -> None:
        """A worker that served has died; ``again``: what it was given and had not begun."""
        self.losses, self.last_loss = self.losses + 1, cause
        self.log.write("front", f"worker lost: {cause}".encode())
        self._queue.extendleft(reversed([job for job in again if not job.caller.done]))
        if not any(other.ready for other in self._slots):
            self._turn(STARTING, f"restarting the model's process: {cause}")
        else:
            for other in self._slots:
                self.free(other)

    # Time ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Look at the limits of time; only while there is anybody who waits."""
        self._ticking = None
        now = time.monotonic()
        busy = False
        for slot in self._slots:
            if slot.sent:
                busy = True
                slot.look(now)
            self._overdue(slot.sent, now)
        self._overdue(self._queue, now)
        while self._queue and self._queue[0].caller.done:
            self._queue.popleft()
        if busy or self._queue:
            self._ticking = self._loop.call_later(self._tick_s, self._tick)

    def _overdue(self, jobs: deque[Job], now: float) -> None:
        late: Reply | None = None
        for job in jobs:
            if now >= job.deadline and not job.caller.done and job.caller.flow is None:
                late = late or replies.timed_out(self._spec.request_timeout_s)
                job.caller.answer(late)

    def _turn(self, phase: str, message: str) -> None:
        self.phase, self.message = phase, message
        self._on_change()
