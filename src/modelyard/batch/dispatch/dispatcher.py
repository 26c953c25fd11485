"""Gives work out to whichever instance has room, and decides what an answer means.

One queue for all: an instance takes the next request when it can, so that a slow one gets less.
What was lost with a connection is sent again *alone*: any of those that were under way may have
killed the instance, and must not take the others with it a second time.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence

from modelyard.batch.dispatch.endpoint import Endpoint
from modelyard.batch.dispatch.payload import fault_of
from modelyard.batch.dispatch.work import Work
from modelyard.domain.batch.run import Address, RunSpec
from modelyard_instance.backoff import delay

MOST_READY = 1024
MOST_BYTES = 48 * 1024 * 1024
"""Requests that wait in the queue, and the bytes of all that have no answer; who makes more of them
waits itself."""
_REFUSALS_PER_ATTEMPT = 20
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_GRACE_S = 10.0
"""Beyond the time that an instance allows a prediction, before we take it for hung."""
TIMED_OUT = b"Request timed out."
_WORKER_LOST = "ModelArts.4302"


class Dispatcher:
    """``endpoints``: the instances that are ready. All calls come from the event loop."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._loop = asyncio.get_running_loop()
        self._endpoints: dict[Address, Endpoint] = {}
        self._ready: deque[Work] = deque()
        self._suspects: deque[Work] = deque()
        self._leaving: list[Endpoint] = []  # they may end what they have
        self._pumping = False
        self._bytes = 0  # of all requests that have no answer yet
        self._open = True
        self._room = asyncio.Event()
        self._room.set()

    @property
    def instances(self) -> int:
        """How many may be given work."""
        return len(self._endpoints)

    def use(self, addresses: Sequence[Address]) -> None:
        """These instances are ready now, and no others."""
        wanted = set(addresses)
        for address, endpoint in list(self._endpoints.items()):
            if address not in wanted:
                endpoint.retire()
                self._leaving.append(self._endpoints.pop(address))
        spec = self._spec
        for address in addresses:
            if address not in self._endpoints:
                self._endpoints[address] = Endpoint(
                    address, spec.path, spec.request_timeout_s, self._settle, self.pump
                )
        self.pump()

    def look(self) -> None:
        """End requests whose instance seems to hang; to be called now and then."""
        limit = self._spec.request_timeout_s + _GRACE_S
        self._leaving = [one for one in self._leaving if one.inflight]
        for endpoint in [*self._endpoints.values(), *self._leaving]:
            endpoint.look(self._loop.time() - limit)
        self.pump()

    async def room(self, size: int = 0) -> None:
        """Wait until the queue is short enough for more, and keep ``size`` bytes of it."""
        while not self._open:
            await self._room.wait()
        self.keep(size)

    def keep(self, size: int) -> None:
        """Count bytes that are not queued yet; less than 0 gives them back."""
        self._bytes += size
        self._tell_room()

    def put(self, works: Sequence[Work]) -> None:
        """Queue requests; each one's sink hears of its answer."""
        self._bytes += sum([len(work.body) for work in works])
        self._ready.extend(works)
        self.pump()

    async def close(self) -> None:
        """Hang up; what is under way is never answered."""
        endpoints = [*self._endpoints.values(), *self._leaving]
        self._endpoints, self._leaving = {}, []
        self._ready.clear()
        self._suspects.clear()
        await asyncio.gather(*(one.close() for one in endpoints))

    def pump(self) -> None:
        """Give out what can be given out."""
        if self._pumping:
            return
        self._pumping = True
        try:
            chosen = self._chosen() if self._suspects else None
            # One request each in turn, for as long as any takes one.
            while (self._ready or self._suspects) and sum(
                [self._feed(endpoint, chosen) for endpoint in self._endpoints.values()]
            ):
                pass
        finally:
            self._pumping = False
        self._tell_room()

    def _chosen(self) -> Endpoint | None:
        """The instance that runs dry for the suspects."""
        open_ones = [one for one in self._endpoints.values() if not one.waits]
        return min(open_ones, key=lambda one: (not one.alone, one.inflight), default=None)

    def _feed(self, endpoint: Endpoint, chosen: Endpoint | None) -> bool:
        if endpoint.alone or endpoint.waits:
            return False
        suspects = self._suspects if endpoint is chosen else None
        if suspects and endpoint.inflight:
            return False
        queue = suspects or self._ready
        if not queue:
            return False
        line = endpoint.line()
        if line is None:
            return False
        endpoint.alone = bool(suspects)
        endpoint.send(line, queue.popleft())
        return True

    def _next(self, endpoint: Endpoint) -> None:
        """Behind an answer: the short way to the same instance's next request."""
        if self._suspects or self._pumping:
            self.pump()
            return
        ready = self._ready
        if ready and not endpoint.waits:
            while ready and (line := endpoint.line()) is not None:
                endpoint.send(line, ready.popleft())
        self._tell_room()

    def _tell_room(self) -> None:
        if len(self._ready) < MOST_READY and self._bytes < MOST_BYTES:
            if not self._open:
                self._open = True
                self._room.set()
        elif self._open:
            self._open = False
            self._room.clear()

    # What the answers mean ---------------------------------------------------------------------

    def _settle(
        self, endpoint: Endpoint, work: Work, status: int, body: bytes, not_computed: bool
    ) -> None:
        endpoint.alone = False
        if 200 <= status < 300:
            self._done(work, status, body)
        elif status == 0:
            self._lost(work, b"")
        elif status in (429, 502, 503):
            self._refused(endpoint, work, status, body, not_computed)
        elif status == 500 and fault_of(status, body)[0] == _WORKER_LOST:
            # The model's process died under it: by its own doing, or killed from outside.
            self._lost(work, body)
        else:
            self._done(work, status, body)
        self._next(endpoint)

    def _done(self, work: Work, status: int, body: bytes) -> None:
        self._bytes -= len(work.body)
        work.sink.done(work, status, body)

    def _lost(self, work: Work, body: bytes) -> None:
        work.losses += 1
        if work.losses < self._spec.attempts:
            self._suspects.append(work)
        elif body:
            self._done(work, 500, body)
        elif work.late:
            self._done(work, 0, TIMED_OUT)
        else:
            text = f"The connection to the instance was lost {work.losses} times."
            self._done(work, 0, text.encode())

    def _refused(
        self, endpoint: Endpoint, work: Work, status: int, body: bytes, not_computed: bool
    ) -> None:
        endpoint.refuse()
        if not_computed:
            self._again(work)
            return
        # A gateway's or the model's own: perhaps it never takes this one.
        work.refusals += 1
        if work.refusals >= _REFUSALS_PER_ATTEMPT * self._spec.attempts:
            self._done(work, status, body)
            return
        pause = delay(work.refusals, _FIRST_PAUSE_S, _LONGEST_PAUSE_S, random.random())  # noqa: S311
        self._loop.call_later(pause, self._rejoin, work)

    def _rejoin(self, work: Work) -> None:
        self._again(work)
        self.pump()

    def _again(self, work: Work) -> None:
        if work.losses:
            self._suspects.append(work)
        else:
            self._ready.appendleft(work)
