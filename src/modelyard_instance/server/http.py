"""HTTP/1.1 between the caller and the app: one parse, no task, one write per answer.

``httptools`` parses; what is above it is an object per connection and one per request, 3 µs a
request. uvicorn with a bare ASGI application in its place takes 14 µs, and a task and futures more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

from modelyard_instance import replies
from modelyard_instance.replies import Reply
from modelyard_instance.server.connections import ConnectionSet
from modelyard_instance.server.exchange import Exchange

_KEPT = frozenset(
    (
        *(b"content-type", b"content-length", b"accept", b"expect", b"x-modelyard-health"),
        *(b"upgrade", b"sec-websocket-key", b"sec-websocket-version"),
    )
)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LARGE = 1 << 16


class Connection(asyncio.Protocol):
    """One caller's connection; its requests are answered in order, one at a time.

    ``idle_since``: loop time of its last answer; None while a request is under way.
    """

    def __init__(self, site: ConnectionSet) -> None:
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
        self._upgrading = False
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
        except httptools.HttpParserUpgrade as upgrade:
            if self._upgrading:
                self._upgrade(data[upgrade.args[0] :])
            else:
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
        if b"upgrade" in self._headers and self._asks_websocket():
            return
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

    def write_end(self, exchange: Exchange, whole: bool, error: bytes) -> None:
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
        else:
            self._part_with(reply)

    def _part_with(self, reply: Reply) -> None:
        """Say a last word that no handler was asked for."""
        if self._transport is not None:
            head = self._site.head(reply.status, reply.content_type, reply.extra, last=True)
            length = b"content-length: %d\r\n\r\n" % len(reply.body)
            self._transport.write(head + length + reply.body)
            self._transport.close()

    # WebSockets ------------------------------------------------------------------------------

    def _asks_websocket(self) -> bool:
        """Whether the request opens a WebSocket. It is no request to the handler then."""
        self._upgrading = (
            self._current is None
            and not self._ending
            and self._parser.should_upgrade()
            and self._headers[b"upgrade"].lower() == b"websocket"
        )
        return self._upgrading

    def _upgrade(self, rest: bytes) -> None:
        """Open the WebSocket that was asked for, or refuse it; ``rest``: what came behind."""
        transport = self._transport
        if transport is None:
            return
        # Most instances never need it, and all would start later.
        from modelyard_instance.server.websocket import open_websocket

        try:
            like = Exchange(self, b"POST", self._url, self._headers, True)
        except httptools.HttpParserError as error:
            self._refuse(error)
            return
        method = self._parser.get_method()
        opened = open_websocket(self._site, transport, method, self._url, like)
        if isinstance(opened, Reply):
            self._part_with(opened)
            return
        self._transport = None
        self._site.left(self)
        if rest:
            opened.data_received(rest)
