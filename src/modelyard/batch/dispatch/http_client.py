"""A lean HTTP/1.1 client: connections that are kept, one request under way on each."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

import httptools
import orjson

from modelyard.batch.dispatch.payload import is_json

MOST_ANSWER = 64 * 1024 * 1024
"""Bytes of one answer; what is longer is no result."""
_TOO_LARGE = orjson.dumps(
    {"error_code": "MR.0105", "error_msg": f"The answer is larger than {MOST_ANSWER} bytes."}
)
_LENGTHS = frozenset(map(len, ("content-length", "transfer-encoding", "x-modelyard-not-computed")))


class Caller(Protocol):
    """Who uses a line; all calls come from the event loop."""

    def answered(self, line: Line, status: int, body: bytes, not_computed: bool) -> None:
        """The whole answer to the line's request is there; the line is free again."""

    def lost(self, line: Line) -> None:
        """The connection has ended; with it the request that was under way, if any."""


class Line(asyncio.Protocol):
    """One connection. ``work``: whatever its caller keeps there while a request is under way.

    ``began``: loop time of the request. ``open``: whether another request may be sent.
    """

    def __init__(self, caller: Caller) -> None:
        self.work: object = None
        self.began = 0.0
        self.open = False
        self._caller = caller
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._size = 0
        self._whole = self._not_computed = self._keep_alive = False
        self._endless = self._headed = False

    def send(self, request: bytes) -> None:
        """Send one whole request."""
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        """End the connection; what is under way is lost."""
        self.open = self._endless = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close()
            return
        # Outside of the parser, which would take an error of ours for one of the answer.
        if self._size > MOST_ANSWER:
            self._body.clear()
            self.close()
            self._caller.answered(self, 500, _TOO_LARGE, False)
        elif self._whole:
            self._answered()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if exc is None and self._endless and self._headed and is_json(b"".join(self._body)):
            # Its end is that of the body, which had no length; cut off, it would hardly be JSON.
            self._answered()
        self._transport = None
        self._caller.lost(self)

    # httptools -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._endless, self._headed = True, False

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) in _LENGTHS:
            name = name.lower()
            if name in (b"content-length", b"transfer-encoding"):
                self._endless = False
            elif name == b"x-modelyard-not-computed":
                self._not_computed = True

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= MOST_ANSWER:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._whole = self._parser.get_status_code() >= 200
        # Only here: once ``feed_data`` has returned, the parser is reset and always says no.
        self._keep_alive = self._parser.should_keep_alive()

    def _answered(self) -> None:
        parser = self._parser
        self._endless = self._whole = False
        self._size = 0
        status = parser.get_status_code()
        pieces, self._body = self._body, []
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        not_computed, self._not_computed = self._not_computed, False
        if not self._keep_alive:
            self.open = False
            if self._transport is not None:
                self._transport.close()
        self._caller.answered(self, status, body, not_computed)
