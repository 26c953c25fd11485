"""Predictions at a steady rate, from a thread of their own, and what became of each."""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx
import uvloop

from modelyard.cli.predict import VERSION_HEADER

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
        self._url = url
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
        limits = httpx.Limits(
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=None,
        )
        began = time.perf_counter()
        async with (
            httpx.AsyncClient(
                limits=limits,
                timeout=self._timeout_s,
                trust_env=False,
                # Loading the system's certificates takes longer than all else here.
                verify=self._url.startswith("https://"),
            ) as http,
            asyncio.TaskGroup() as under_way,
        ):
            open_now: set[asyncio.Task[None]] = set()
            due = 0
            while not self._stopping.is_set():
                wanted = int((time.perf_counter() - began) * self._rate)
                for _ in range(wanted - due):
                    if len(open_now) >= CONNECTIONS:
                        self.counts.skipped += 1
                        continue
                    task = under_way.create_task(self._predict(http))
                    open_now.add(task)
                    task.add_done_callback(open_now.discard)
                due = wanted
                await asyncio.sleep(max(0.0, (due + 1) / self._rate + began - time.perf_counter()))
        self.counts.seconds = time.perf_counter() - began

    async def _predict(self, http: httpx.AsyncClient) -> None:
        counts = self.counts
        counts.sent += 1
        at, began = int(time.time() * 1000), time.perf_counter()
        try:
            answer = await http.post(
                self._url,
                content=self._body,
                headers={"X-Auth-Token": self.token, "Content-Type": "application/json"},
            )
        except httpx.HTTPError as error:
            self._note(Failure(at, 0, f"{type(error).__name__} {error}".strip(), "", lost=True))
            return
        counts.times.append((time.perf_counter() - began) * 1000)
        if answer.status_code == httpx.codes.OK:
            counts.ok += 1
            counts.versions[answer.headers.get(VERSION_HEADER, "unknown")] += 1
            return
        self._note(
            Failure(
                at,
                answer.status_code,
                answer.text[:200],
                answer.headers.get("x-request-id", ""),
                lost=INSTANCE_HEADER not in answer.headers,
            )
        )

    def _note(self, failure: Failure) -> None:
        self.counts.failed += 1
        self.counts.lost += failure.lost
        if len(self.counts.failures) < _MOST_KEPT:
            self.counts.failures.append(failure)
