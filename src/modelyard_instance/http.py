"""HTTP/1.1 between the caller and the app: one parse, no task, one write per answer.

``httptools`` parses; what is above it is an object per connection and one per request, 3 µs a
request. uvicorn with a bare ASGI application in its place takes 14 µs, and a task and futures more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol, cast

import httptools

from modelyard_instance import replies
from modelyard_instance.exchange import Exchange
from modelyard_instance.replies import JSON
from modelyard_instance.request_line import STATUS

_KEPT = frozenset((b"content-type", b"content-length", b"accept", b"expect", b"x-modelyard-health"))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LARGE = 1 << 16


class Handler(Protocol):
    """What becomes of requests; all calls come from the event loop, none may block."""

    def arrived(self, exchange: Exchange) -> None:
        """The headers are there. May answer at once; the body is swallowed then."""

    def body(self, exchange: Exchange, chunk: bytes) -> None:
        """A piece of the body of a request that has no answer yet."""

    def complete(self, exchange: Exchange) -> None:
        """The body is whole. The answer may come later, from elsewhere."""

    def finished(self, exchange: Exchange) -> None:
        """Called once for each request: its answer is written, or its caller has hung up."""


class Site:
    """What the connections of one server share.

    ``headers``: lines that go on every answer. ``draining``: each connection ends with its next
    answer. ``closed``: set when, after ``hang_up``, no connection is left.
    """

    def __init__(self, handler: Handler, headers: bytes) -> None:
        self.handler = handler
        self.draining = False
        self.connections: set[Connection] = set()
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

    def hang_up(self) -> None:
        """Close every connection, now or behind its answer."""
        self.draining = True
        self.closed.clear()
        for connection in list(self.connections):
            connection.hang_up()
        if not self.connections:
            self.closed.set()

    def left(self, connection: Connection) -> None:
        """``connection`` is closed."""
        self.connections.discard(connection)
        if self.draining and not self.connections:
            self.closed.set()

    def close_idle(self, before: float) -> None:
        """End the connections that nobody has used since ``before`` (loop time)."""
        for connection in list(self.connections):
            if connection.idle_since is not None and connection.idle_since < before:
                connection.hang_up()


class Connection(asyncio.Protocol):
    """One caller's connection; its requests are answered in order, one at a time.

    ``idle_since``: loop time of its last answer; None while a request is under way.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._handler = site.handler
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._incoming: Exchange | None = None
        self._whole = False
        self._current: Exchange | None = None
        self._waiting: deque[tuple[Exchange, list[bytes], bool]] = deque()
        self._ending = False
        self.idle_since: float | None = self._loop.time()

    # asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._site.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.left(self)
        self._transport = None
        self._waiting.clear()
        exchange, self._current = self._current, None
        if exchange is not None and not exchange.done:
            exchange.done = True
            self._handler.finished(exchange)

    def pause_writing(self) -> None:
        if self._current is not None and self._current.flow is not None:
            self._current.flow(False)

    def resume_writing(self) -> None:
        if self._current is not None and self._current.flow is not None:
            self._current.flow(True)

    def data_received(self, data: bytes) -> None:
        self.idle_since = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_after_answer()
        except httptools.HttpParserError as error:
            self._refuse(error)

    # httptools -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _KEPT:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        parser = self._parser
        closing = not parser.should_keep_alive() or parser.get_http_version() == "1.0"
        exchange = Exchange(self, parser.get_method(), self._url, self._headers, closing)
        self._incoming = exchange
        if self._current is not None or self._ending:
            # Sent before the answer to the one in front; nobody who does so needs speed.
            self._waiting.append((exchange, [], False))
            if self._transport is not None:
                self._transport.pause_reading()
            return
        self._whole = False
        self._start(exchange)

    def on_body(self, body: bytes) -> None:
        exchange = self._incoming
        if exchange is self._current:
            if exchange is not None and not exchange.done:
                self._handler.body(exchange, body)
        elif self._waiting:
            self._waiting[-1][1].append(body)

    def on_message_complete(self) -> None:
        exchange, self._incoming = self._incoming, None
        if exchange is None:
            return
        if exchange is self._current:
            self._whole = True
            if not exchange.done:
                self._handler.complete(exchange)
            else:
                self._next()
        elif self._waiting:
            last, chunks, _ = self._waiting.pop()
            self._waiting.append((last, chunks, True))

    # Answers ---------------------------------------------------------------------------------

    def write(
        self,
        exchange: Exchange,
        status: int,
        content_type: bytes,
        body: bytes,
        extra: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        """The whole answer to ``exchange`` in one write."""
        transport = self._transport
        if transport is not None:
            last = exchange.closing or self._site.draining
            exchange.closing = last
            head = self._site.head(status, content_type, extra, last=last)
            start = b"%bcontent-length: %d\r\n\r\n" % (head, len(body))
            if exchange.method == b"HEAD":
                transport.write(start)
            elif len(body) < _LARGE:
                transport.write(start + body)
            else:
                transport.writelines((start, body))
        self._answered(exchange)

    def write_start(self, exchange: Exchange, status: int, content_type: bytes) -> None:
        """The headers of an answer in pieces."""
        if self._transport is not None:
            exchange.closing = exchange.closing or self._site.draining
            head = self._site.head(status, content_type, (), last=exchange.closing)
            self._transport.write(head + b"transfer-encoding: chunked\r\n\r\n")

    def write_chunk(self, exchange: Exchange, data: bytes) -> None:
        """One piece."""
        if self._transport is not None and exchange.method != b"HEAD":
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def write_end(self, exchange: Exchange, whole: bool) -> None:
        """The end of an answer in pieces; one that is not whole ends without its last chunk."""
        if whole:
            if self._transport is not None and exchange.method != b"HEAD":
                self._transport.write(b"0\r\n\r\n")
        else:
            exchange.closing = True
        self._answered(exchange)

    def abort(self) -> None:
        """Close now; what has not been sent yet is lost."""
        if self._transport is not None:
            self._transport.abort()

    def hang_up(self) -> None:
        """Close now when idle, else behind the answer that is under way."""
        if self._current is None and self._transport is not None:
            self._transport.close()
        else:
            self._end_after_answer()

    # The order of things ---------------------------------------------------------------------

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        self._handler.arrived(exchange)
        if not exchange.done and exchange.headers.get(b"expect", b"").lower() == b"100-continue":
            assert self._transport is not None
            self._transport.write(_CONTINUE)

    def _answered(self, exchange: Exchange) -> None:
        exchange.done = True
        self._handler.finished(exchange)
        if exchange.closing or self._ending:
            if self._transport is not None:
                self._transport.close()
        elif self._whole:
            self._next()

    def _next(self) -> None:
        """Behind an answered request whose body is whole: the next, or rest."""
        self._current = None
        self.idle_since = self._loop.time()
        if not self._waiting or self._ending:
            return
        self.idle_since = None
        exchange, chunks, whole = self._waiting.popleft()
        self._whole = whole
        self._start(exchange)
        for chunk in chunks:
            if not exchange.done:
                self._handler.body(exchange, chunk)
        if not self._waiting and self._transport is not None:
            self._transport.resume_reading()
        if whole and not exchange.done:
            self._handler.complete(exchange)
        elif whole and self._current is exchange:
            self._next()

    def _end_after_answer(self) -> None:
        self._ending = True
        self._waiting.clear()
        if self._current is None and self._transport is not None:
            self._transport.close()

    def _refuse(self, error: Exception) -> None:
        """What came is no HTTP: 400, and the connection ends."""
        current, reply = self._current, replies.malformed(f"not HTTP: {error}")
        if current is not None and not current.done and not self._whole:
            current.closing = True
            current.answer(reply)
        elif current is not None and not current.done:
            self._end_after_answer()
        elif self._transport is not None:
            head = self._site.head(reply.status, reply.content_type, (), last=True)
            length = b"content-length: %d\r\n\r\n" % len(reply.body)
            self._transport.write(head + length + reply.body)
            self._transport.close()
