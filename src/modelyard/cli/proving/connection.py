"""One HTTP connection that posts the same to one address again and again, at little cost.

A client library takes milliseconds of a core for each request; on a small machine that would be
most of what is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools


@dataclass(frozen=True, slots=True)
class Answer:
    """``headers``: by names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where to post to; ``url`` without a query."""

    url: str

    async def connect(self) -> Connection:
        """A new connection. Raises ``OSError``."""
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection,
            parts.hostname or "",
            parts.port or (443 if secure else 80),
            ssl=True if secure else None,
        )
        return connection

    def request(self, body: bytes, token: str) -> bytes:
        """A JSON request as it goes over the connection."""
        parts = urlsplit(self.url)
        head = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"X-Auth-Token: {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self.usable = False
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    async def ask(self, request: bytes) -> Answer:
        """The answer. Raises ``ConnectionError`` when the connection breaks first."""
        if self._transport is None or not self.usable:
            raise ConnectionError("the connection is closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """End it; an answer that is waited for is given up."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # -- called by the event loop ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not every event loop's transports are instances of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"the answer is not HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._fail(ConnectionError(str(exc) if exc else "the connection was closed"))

    def _fail(self, error: ConnectionError) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    # -- called by the parser --------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        answer = Answer(self._parser.get_status_code(), self._headers, bytes(self._body))
        if not self._parser.should_keep_alive():
            self.close()
        self._begin()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)
