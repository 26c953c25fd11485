"""A steady load on one prediction address, as a process of its own.

``python tests/support/load.py --url … --token … --rate 600 --connections 8`` sends until
``--seconds`` have passed or SIGTERM arrives, prints one line of counters (JSON) every 0.2 s and a
summary at the end. Open loop with a bound: requests fall due at the set rate, wait for a free
connection when all are busy, and are skipped (and counted) when more than two per connection wait.
Rate 0 is a closed loop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from loadrun import Record, summarise

_REPORT_EVERY_S = 0.2
_TICK_S = 0.002


class _Connection(asyncio.Protocol):
    """One keep-alive connection: sends one request at a time and reads its answer."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.transport: asyncio.Transport | None = None
        self.started: float | None = None
        self.buffer = bytearray()
        self.head_length = 0
        self.body_length: int | None = None
        self.chunked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> None:
        assert self.transport is not None
        self.buffer.clear()
        self.head_length = 0
        self.started = time.time() * 1000
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.started is None:
            return
        self.buffer += data
        if not self.head_length:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head_length = end + 4
            self._read_head(bytes(self.buffer[:end]))
        if self._complete():
            self._finish("")

    def _read_head(self, head: bytes) -> None:
        lower = head.lower()
        self.chunked = b"\r\ntransfer-encoding: chunked" in lower
        length = _header(lower, b"content-length")
        self.body_length = int(length) if length else None

    def _complete(self) -> bool:
        if self.chunked:
            return self.buffer.endswith(b"0\r\n\r\n")
        return len(self.buffer) - self.head_length >= (self.body_length or 0)

    def _finish(self, error: str, *, reusable: bool = True) -> None:
        started = self.started
        if started is None:
            return
        self.started = None
        head = bytes(self.buffer[: self.head_length])
        status = int(head[9:12]) if head[9:12].isdigit() else 0
        if not error and status != 200:
            error = bytes(self.buffer[self.head_length :])[:300].decode("utf-8", "replace")
        lower = head.lower()
        self.engine.done(
            self,
            Record(
                started,
                time.time() * 1000,
                status if not error or head else 0,
                _header(head, b"x-modelyard-model-version").decode(),
                _header(head, b"x-modelyard-revision").decode(),
                error or ("" if status == 200 else f"status {status}"),
            ),
            reusable=reusable and b"\r\nconnection: close" not in lower,
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._finish(f"connection lost before the answer was complete: {exc or 'closed'}")
        self.engine.lost(self)

    def give_up(self, now_ms: float, limit_ms: float) -> None:
        if self.started is not None and now_ms - self.started > limit_ms:
            self._finish(f"no answer within {limit_ms / 1000:.0f} s", reusable=False)


def _header(head: bytes, name: bytes) -> bytes:
    """The value of ``name`` (given in lower case) in the raw head of an answer."""
    at = head.lower().find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


class Engine:
    """Keeps ``connections`` open and hands each due request to a free one."""

    def __init__(
        self,
        url: str,
        token: str,
        body: bytes,
        *,
        rate: float,
        connections: int,
        timeout_s: float,
        count: int = 0,
    ) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.request = (
            f"POST {target} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"X-Auth-Token: {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self.rate, self.connections, self.timeout_ms = rate, connections, timeout_s * 1000
        self.count = count or sys.maxsize
        self.idle: list[_Connection] = []
        self.open: set[_Connection] = set()
        self.opening = 0
        self.records: list[Record] = []
        self.sent = self.failed = self.skipped = self.waiting = 0
        self.stopping = False

    async def run(self, seconds: float, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        start, issued, swept = loop.time(), 0, loop.time()
        while not stop.is_set() and (now := loop.time()) - start < seconds:
            if self.sent >= self.count:
                break
            self._refill()
            if self.rate:
                due = int((now - start) * self.rate) - issued
                issued += due
                self.waiting += due
                bound = 2 * self.connections
                self.skipped += max(0, self.waiting - bound)
                self.waiting = min(self.waiting, bound)
            else:
                self.waiting = len(self.idle)
            self._serve()
            if now - swept > 1:
                swept = now
                for connection in list(self.open):
                    connection.give_up(time.time() * 1000, self.timeout_ms)
            await asyncio.sleep(_TICK_S)
        self.stopping = True
        deadline = loop.time() + self.timeout_ms / 1000
        while any(c.started is not None for c in self.open) and loop.time() < deadline:
            await asyncio.sleep(_TICK_S)
        for connection in list(self.open):
            if connection.transport is not None:
                connection.transport.abort()

    def _serve(self) -> None:
        while self.waiting and self.idle and self.sent < self.count:
            self.waiting -= 1
            self.sent += 1
            self.idle.pop().send(self.request)

    def _refill(self) -> None:
        while len(self.open) + self.opening < self.connections and not self.opening > 4:
            self.opening += 1
            task = asyncio.ensure_future(self._connect())
            task.add_done_callback(lambda t: t.exception())

    async def _connect(self) -> None:
        began = time.time() * 1000
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self), self.host, self.port
            )
        except OSError as error:
            # A refused connection is a lost request too: a caller would have sent one now.
            if self.waiting or not self.rate:
                self.waiting = max(0, self.waiting - 1)
                self.sent += 1
                self._keep(Record(began, time.time() * 1000, 0, "", "", f"connect: {error}"))
            await asyncio.sleep(0.02)
        else:
            if connection.transport is not None:
                self.open.add(connection)
                self.idle.append(connection)
        finally:
            self.opening -= 1

    def done(self, connection: _Connection, record: Record, *, reusable: bool) -> None:
        self._keep(record)
        if connection.transport is None or self.stopping:
            return
        if not reusable or connection.transport.is_closing():
            connection.transport.close()
            self.open.discard(connection)
            return
        self.idle.append(connection)
        if not self.rate:
            self.waiting = 1
        self._serve()

    def lost(self, connection: _Connection) -> None:
        self.open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def _keep(self, record: Record) -> None:
        self.failed += not record.ok
        self.records.append(record)


async def _main(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    body = Path(options.body[1:]).read_bytes() if options.body[:1] == "@" else options.body.encode()
    engine = Engine(
        options.url,
        options.token,
        body,
        rate=options.rate,
        connections=options.connections,
        timeout_s=options.timeout,
        count=options.count,
    )
    written = 0
    with Path(options.records or "/dev/null").open("w", encoding="utf-8") as file:

        def report() -> None:
            nonlocal written
            file.writelines(r.line() for r in engine.records[written:])
            file.flush()
            written = len(engine.records)
            print(
                json.dumps({"sent": engine.sent, "done": written, "failed": engine.failed}),
                flush=True,
            )

        async def report_often() -> None:
            while True:
                await asyncio.sleep(_REPORT_EVERY_S)
                report()

        reporter = asyncio.create_task(report_often())
        try:
            await engine.run(options.seconds, stop)
        finally:
            reporter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporter
            report()
    print(json.dumps({"summary": asdict(summarise(engine.records, engine.skipped))}), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", default="")
    parser.add_argument("--body", default="{}", help="the body, or @file")
    parser.add_argument("--rate", type=float, default=600, help="requests/s; 0: closed loop")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--count", type=int, default=0, help="end after so many; 0: no limit")
    parser.add_argument("--timeout", type=float, default=45)
    parser.add_argument("--records", default="", help="file for one line a request")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(_main(_options()))
    else:
        uvloop.run(_main(_options()))
