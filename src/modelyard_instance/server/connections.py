"""What the connections of one server share, and what they are to each other."""

from __future__ import annotations

import asyncio
from typing import Protocol

from modelyard_instance.replies import JSON, Reply
from modelyard_instance.server.exchange import Exchange
from modelyard_instance.server.messages import Allowance
from modelyard_instance.server.request_line import STATUS


class Handler(Protocol):
    """What becomes of requests; all calls come from the event loop, none may block.

    ``allowance``: what messages of WebSockets may take up before they arrive as requests.
    """

    allowance: Allowance

    def upgrade(self, exchange: Exchange) -> Reply | None:
        """The refusal of a WebSocket whose messages would be requests like this one, if any."""

    def arrived(self, exchange: Exchange) -> None:
        """The headers are there. May answer at once; the body is swallowed then."""

    def body(self, exchange: Exchange, chunk: bytes) -> None:
        """A piece of the body of a request that has no answer yet."""

    def complete(self, exchange: Exchange) -> None:
        """The body is whole. The answer may come later, from elsewhere."""

    def finished(self, exchange: Exchange) -> None:
        """Called once for each request: its answer is written, or its caller has hung up."""


class Peer(Protocol):
    """A connection as its site knows it."""

    idle_since: float | None

    def hang_up(self) -> None:
        """Close now, or behind an answer that is under way."""


class Lasting(Peer, Protocol):
    """One that no answer ends: ``websocket.WebSocket``."""

    def drain(self) -> None:
        """Close as soon as nothing is under way."""


class ConnectionSet:
    """What the connections of one server share.

    ``headers``: lines that go on every answer. ``draining``: each connection ends with its next
    answer, a WebSocket also without one. ``closed``: set when, after ``hang_up``, no connection is
    left. ``websockets``: those of the ``connections`` that are one.
    """

    def __init__(self, handler: Handler, headers: bytes) -> None:
        self.handler = handler
        self.draining = False
        self.connections: set[Peer] = set()
        self.websockets: set[Lasting] = set()
        self.closed = asyncio.Event()
        self._common = headers
        self._usual = STATUS[200] + b"content-type: " + JSON + b"\r\n" + headers

    def head(
        self,
        status: int,
        content_type: bytes,
        extra: tuple[tuple[bytes, bytes], ...],
        *,
        last: bool,
    ) -> bytes:
        """Status line and headers, up to the one that tells the length."""
        if status == 200 and content_type == JSON and not extra and not last:
            return self._usual
        lines = [
            STATUS.get(status, b"HTTP/1.1 %d Unknown\r\n" % status),
            b"content-type: ",
            content_type,
            b"\r\n",
            self._common,
        ]
        for name, value in extra:
            lines += (name, b": ", value, b"\r\n")
        if last:
            lines.append(b"connection: close\r\n")
        return b"".join(lines)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The lines of every answer, names and values."""
        lines = [line.partition(b": ") for line in self._common.splitlines()]
        return [(name, value) for name, _, value in lines]

    def drain(self) -> None:
        """Let every connection end with its next answer."""
        self.draining = True
        for one in list(self.websockets):
            one.drain()

    def hang_up(self) -> None:
        """Close every connection, now or behind its answer."""
        self.draining = True
        self.closed.clear()
        for connection in list(self.connections):
            connection.hang_up()
        if not self.connections:
            self.closed.set()

    def left(self, connection: Peer) -> None:
        """``connection`` is closed."""
        self.connections.discard(connection)
        if self.draining and not self.connections:
            self.closed.set()

    def close_idle(self, before: float) -> None:
        """End the connections that nobody has used since ``before`` (loop time)."""
        for connection in list(self.connections):
            if connection.idle_since is not None and connection.idle_since < before:
                connection.hang_up()
