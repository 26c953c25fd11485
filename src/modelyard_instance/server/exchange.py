"""One request over HTTP, and its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from modelyard_instance.replies import JSON, Reply
from modelyard_instance.server.forms import FormParser
from modelyard_instance.server.request_line import target_of


class Line(Protocol):
    """The connection that an exchange came over; ``http.Connection`` or ``websocket.WebSocket``."""

    def write(
        self,
        exchange: Exchange,
        status: int,
        content_type: bytes,
        body: bytes,
        extra: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        """The whole answer."""

    def write_start(self, exchange: Exchange, status: int, content_type: bytes) -> None:
        """The head of an answer in pieces."""

    def write_chunk(self, exchange: Exchange, data: bytes) -> None:
        """A piece."""

    def write_end(self, exchange: Exchange, whole: bool, error: bytes) -> None:
        """The end; not ``whole``: breaks off, because of ``error`` (JSON) if that is known."""

    def abort(self) -> None:
        """Hang up."""


class Exchange:
    """One request and its answer.

    ``headers``: of the few that matter, names in lower case. ``chunks``, ``form``, ``size`` and
    ``target`` are the handler's: what it keeps of the body, and whom it is for. ``done``: answered,
    or its caller is gone. ``flow`` is told False when the caller reads too slowly, True when it has
    caught up.
    """

    __slots__ = (
        "_line",
        "chunks",
        "closing",
        "done",
        "flow",
        "form",
        "headers",
        "method",
        "path",
        "query",
        "size",
        "target",
    )

    def __init__(
        self,
        line: Line,
        method: bytes,
        url: bytes,
        headers: dict[bytes, bytes],
        closing: bool,
    ) -> None:
        self._line = line
        self.method = method
        self.headers = headers
        self.closing = closing
        self.chunks: list[bytes] = []
        self.size = 0
        self.done = False
        self.target: object = None
        self.form: FormParser | None = None
        self.flow: Callable[[bool], None] | None = None
        if url == b"/":
            self.path, self.query = "/", b""
        else:
            self.path, self.query = target_of(url)

    def answer(self, reply: Reply) -> None:
        """Send the whole answer; nothing happens when the caller is gone."""
        if not self.done:
            self._line.write(self, reply.status, reply.content_type, reply.body, reply.extra)

    def answer_json(self, body: bytes) -> None:
        """200 and ``body``: the usual case, without a ``Reply``."""
        if not self.done:
            self._line.write(self, 200, JSON, body, ())

    def begin(self, status: int, content_type: bytes) -> None:
        """Start an answer in pieces."""
        if not self.done:
            self._line.write_start(self, status, content_type)

    def chunk(self, data: bytes) -> None:
        """Send one piece."""
        if not self.done and data:
            self._line.write_chunk(self, data)

    def end(self, whole: bool = True, error: bytes = b"") -> None:
        """End an answer in pieces; not ``whole``: break it off so that the caller notices.

        ``error``: the body that tells why, where there is one and a way to send it.
        """
        if not self.done:
            self._line.write_end(self, whole, error)

    def cut(self) -> None:
        """Break the answer off at once, whatever has been sent of it."""
        if not self.done:
            self._line.abort()
