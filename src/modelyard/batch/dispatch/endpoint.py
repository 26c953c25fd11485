"""One instance: its connections, its pace, and how it is left alone when it fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from urllib.parse import quote

from modelyard.batch.dispatch.concurrency_limit import ConcurrencyLimit
from modelyard.batch.dispatch.http_client import Line
from modelyard.batch.dispatch.work import Work
from modelyard.domain.batch.run import Address
from modelyard_instance.backoff import delay

MOST_LINES = 64
_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 2.0
_CONNECT_S = 5.0
_PATH = "/%?=&+,;:@~!$'()*[]"

Settle = Callable[["Endpoint", Work, int, bytes, bool], None]


class Endpoint:
    """``settle`` hears of each answer (status 0: the connection was lost), ``wake`` of new room.

    ``retired``: it gets no new requests. ``inflight``: requests under way. ``alone``: one of them
    must not share the instance with others.
    """

    def __init__(
        self,
        address: Address,
        path: str,
        timeout_s: float,
        settle: Settle,
        wake: Callable[[], None],
    ) -> None:
        self.address = address
        self.retired = False
        self.inflight = 0
        self.alone = False
        self.pace = ConcurrencyLimit(MOST_LINES, timeout_s)
        self._settle = settle
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._idle: list[Line] = []
        self._lines: set[Line] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._not_before = 0.0
        path = quote(path, safe=_PATH)
        self._start = f"POST {path} HTTP/1.1\r\nhost: {address.host}:{address.port}\r\n".encode()
        self._heads: dict[str, bytes] = {}

    def line(self) -> Line | None:
        """An idle line to send on, None where there is no room; one may be opened for later."""
        if self.retired or self.inflight >= self.pace.limit:
            return None
        while self._idle:
            line = self._idle.pop()
            if line.open:
                return line
        self._open()
        return None

    def send(self, line: Line, work: Work) -> None:
        """Send the request of ``work``."""
        line.work = work
        line.began = self._loop.time()
        self.inflight += 1
        body = work.body
        head = self._heads.get(work.kind)
        if head is None:
            head = self._heads[work.kind] = self._head(work.kind)
        if len(body) < 1 << 16:
            line.send(head + b"%d\r\n\r\n%b" % (len(body), body))
        else:
            line.send(head + b"%d\r\n\r\n" % len(body))
            line.send(body)

    def retire(self) -> None:
        """Send nothing more; what is under way may end."""
        self.retired = True
        for line in self._idle:
            line.close()
        self._idle.clear()

    def look(self, before: float) -> None:
        """End the lines whose request was sent before this loop time."""
        for line in list(self._lines):
            if isinstance(line.work, Work) and line.began < before:
                line.work.late = True
                line.close()

    async def close(self) -> None:
        """Hang up."""
        self.retired = True
        for task in self._connecting:
            task.cancel()
        for line in list(self._lines):
            line.close()
        await asyncio.gather(*self._connecting, return_exceptions=True)

    # What the lines tell -----------------------------------------------------------------------

    def answered(self, line: Line, status: int, body: bytes, not_computed: bool) -> None:
        work, line.work = line.work, None
        if not isinstance(work, Work):
            line.close()  # an answer that nobody asked for
            return
        now = self._loop.time()
        self._failures = 0
        if not not_computed:
            self.pace.answered(now - line.began, now, busy=self.inflight >= self.pace.limit)
        self.inflight -= 1
        if line.open and not self.retired:
            self._idle.append(line)
        elif line.open:
            line.close()
        self._settle(self, work, status, body, not_computed)

    def lost(self, line: Line) -> None:
        self._lines.discard(line)
        if line in self._idle:
            self._idle.remove(line)
        work, line.work = line.work, None
        if isinstance(work, Work):
            self.inflight -= 1
            self._fail()
            self._settle(self, work, 0, b"", False)
        else:
            # There is room for another line.
            self._wake()

    def refuse(self) -> None:
        """The instance has said that it cannot take more now."""
        self.pace.refused(self._loop.time())
        self._fail()

    @property
    def waits(self) -> bool:
        """Whether it is left alone for a while."""
        return self._loop.time() < self._not_before

    def _fail(self) -> None:
        if self.waits:
            return
        self._failures += 1
        pause = delay(self._failures, _BACKOFF_S, _LONGEST_BACKOFF_S, random.random())  # noqa: S311
        self._not_before = self._loop.time() + pause
        self._loop.call_later(pause + 0.001, self._wake)

    def _head(self, kind: str) -> bytes:
        kind = "".join(kind.splitlines())
        return self._start + f"content-type: {kind}\r\ncontent-length: ".encode()

    def _open(self) -> None:
        if self.waits or len(self._connecting) + len(self._lines) >= self.pace.limit:
            return
        task = self._loop.create_task(self._connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        address = self.address
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, line = await self._loop.create_connection(
                    lambda: Line(self), address.host, address.port
                )
        except OSError:
            self._fail()
            return
        self._lines.add(line)
        if self.retired:
            line.close()
        elif line.open:
            self._idle.append(line)
            # Behind this task's end, so that it no longer counts as connecting.
            self._loop.call_soon(self._wake)
