"""Predictions at a steady rate, from a thread of their own, and what became of each."""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

import uvloop

from modelyard.cli.commands.predict import VERSION_HEADER
from modelyard.cli.proving.connection import Answer, Connection, Target

INSTANCE_HEADER = "x-modelyard-instance"
CONNECTIONS = 16
_MOST_KEPT = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """A prediction that was not answered with 200.

    ``at``: when it was sent, ms since 1970. ``status`` 0: there was no answer, ``reason`` says why.
    ``request_id``: by which the platform's log knows it; empty without an answer. ``lost``: no
    instance answered.
    """

    at: int
    status: int
    reason: str
    request_id: str
    lost: bool


@dataclass(slots=True)
class Counts:
    """``skipped``: not sent because too many were unanswered. ``times``: milliseconds until the
    answer. ``failures`` are the first of them, ``failed`` and ``lost`` count all.
    """

    sent: int = 0
    ok: int = 0
    failed: int = 0
    lost: int = 0
    skipped: int = 0
    seconds: float = 0.0
    times: array[float] = field(default_factory=lambda: array("d"))
    versions: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)


class Load:
    """Posts ``body`` to ``url`` ``rate`` times a second while the ``with`` block lasts.

    At its end the predictions under way are waited for. ``token`` may be replaced at any time.
    """

    def __init__(self, url: str, body: bytes, token: str, *, rate: float, timeout_s: float) -> None:
        self.token = token
        self.counts = Counts()
        self._target = Target(url)
        self._idle: list[Connection] = []
        self._open = 0
        self._body = body
        self._rate = rate
        self._timeout_s = timeout_s
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._send_all())
        except BaseException as error:  # told to whoever ends the block
            self._error = error

    async def _send_all(self) -> None:
        began = time.perf_counter()
        due = 0
        try:
            async with asyncio.TaskGroup() as under_way:
                while not self._stopping.is_set():
                    wanted = int((time.perf_counter() - began) * self._rate)
                    for _ in range(wanted - due):
                        if self._open >= CONNECTIONS:
                            self.counts.skipped += 1
                        else:
                            self._open += 1
                            under_way.create_task(self._predict())
                    due = wanted
                    ahead = (due + 1) / self._rate + began - time.perf_counter()
                    await asyncio.sleep(max(0.0, ahead))
        finally:
            for connection in self._idle:
                connection.close()
        self.counts.seconds = time.perf_counter() - began

    async def _predict(self) -> None:
        counts = self.counts
        counts.sent += 1
        at, began = int(time.time() * 1000), time.perf_counter()
        try:
            answer = await self._ask()
        except (OSError, TimeoutError) as error:
            reason = f"{type(error).__name__} {error}".strip()
            self._note(Failure(at, 0, reason, "", lost=True))
            return
        finally:
            self._open -= 1
        counts.times.append((time.perf_counter() - began) * 1000)
        if answer.status == HTTPStatus.OK:
            counts.ok += 1
            counts.versions[answer.headers.get(VERSION_HEADER, "unknown")] += 1
            return
        self._note(
            Failure(
                at,
                answer.status,
                answer.body[:200].decode(errors="replace"),
                answer.headers.get("x-request-id", ""),
                lost=INSTANCE_HEADER not in answer.headers,
            )
        )

    async def _ask(self) -> Answer:
        """Raises ``OSError`` or ``TimeoutError`` when there is no answer; nothing is repeated."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                # One that the other side has closed meanwhile was never asked.
                self._idle = [one for one in self._idle if one.usable]
                connection = self._idle.pop() if self._idle else await self._target.connect()
                answer = await connection.ask(self._target.request(self._body, self.token))
        except (OSError, TimeoutError):
            if connection is not None:
                connection.close()
            raise
        if connection.usable:
            self._idle.append(connection)
        return answer

    def _note(self, failure: Failure) -> None:
        self.counts.failed += 1
        self.counts.lost += failure.lost
        if len(self.counts.failures) < _MOST_KEPT:
            self.counts.failures.append(failure)
