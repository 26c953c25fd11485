"""The headers of the frames between front and worker (``frames``): JSON objects, here with types.

What has its usual value is left out, and a header without anything is no bytes at all; so a plain
prediction costs no JSON. Unknown names are ignored: a worker of one build may serve a front of
another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
MORE = b'{"more":true}'
"""The header of a further piece of an answer."""

Part = tuple[str, str | None, str, int]
"""A field of a form: its name, its file's name or None, its content type, its length in bytes."""


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """What a worker must know of a request beside the body."""

    query: Mapping[str, str] = field(default_factory=dict)
    """The parameters of the URL."""
    accept: str = ""
    """What the caller accepts, where that is not JSON."""
    parts: Sequence[Part] | None = None
    """The fields of a form, whose contents lie in the body one behind the other."""
    hook: str = ""
    """``batch`` for the script's ``batch_inference``."""
    v2: str | None = None
    """The model's version, when the body is one of the Open Inference Protocol."""
    messages: bool = False
    """Whether the pieces of the answer go over a WebSocket."""

    def encode(self) -> bytes:
        """The header's bytes."""
        usual = _PLAIN_REQUEST
        values = {name: getattr(self, name) for name in _REQUEST}
        return _object({n: value for n, value in values.items() if value != getattr(usual, n)})

    @staticmethod
    def decode(header: bytes) -> RequestHeader:
        """Read the header of a request. Raises ``ValueError`` when it is no JSON object."""
        return _PLAIN_REQUEST if not header else RequestHeader(**_known(header, _REQUEST))


@dataclass(frozen=True, slots=True)
class ReplyHeader:
    """What a front must know of an answer, or of a piece of one, beside the body."""

    status: int = 200
    """The HTTP status; in a piece, only that of the first counts."""
    content_type: str = JSON
    more: bool | None = None
    """None: the whole answer. True: a piece, and others follow. False: the end of the pieces."""
    first: bool = False
    """Whether this piece begins the answer."""
    broken: bool = False
    """At the end of the pieces: whether the script failed; the body is the error's."""

    def encode(self) -> bytes:
        """The header's bytes."""
        if self.more is None:
            if self.status == 200 and self.content_type == JSON:
                return b""
            return _object({"status": self.status, "type": self.content_type})
        if self.first:
            return _object({"status": self.status, "type": self.content_type, "more": True})
        if self.more:
            return MORE
        return b'{"more":false,"broken":true}' if self.broken else b'{"more":false}'

    @staticmethod
    def decode(header: bytes) -> ReplyHeader:
        """Read the header of an answer. Raises ``ValueError`` when it is no JSON object."""
        if not header:
            return _PLAIN_REPLY
        if header == MORE:
            return _PIECE
        values = _known(header, _REPLY)
        more = values.get("more")
        return ReplyHeader(
            values.get("status", 200),
            values.get("type", JSON),
            more,
            more is True and "status" in values,
            values.get("broken", False),
        )


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first frame of a worker: it serves, or it could not load the model."""

    ready: bool
    batch: int = 1
    """How many requests it answers at once."""
    v2: dict[str, object] | None = None
    """The model's inputs and outputs, where it speaks the Open Inference Protocol."""
    message: str = ""
    """Why the model could not be loaded."""

    def encode(self) -> bytes:
        """The header's bytes."""
        if not self.ready:
            return _object({"event": "failed", "message": self.message})
        return _object({"event": "ready", "batch": self.batch, "v2": self.v2})

    @staticmethod
    def decode(header: bytes) -> Greeting:
        """Read a worker's first header. Raises ``ValueError`` when it is no JSON object."""
        values = json.loads(header)
        if values.get("event") != "ready":
            return Greeting(ready=False, message=str(values.get("message") or ""))
        return Greeting(ready=True, batch=max(1, int(values.get("batch", 1))), v2=values.get("v2"))


def _object(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() if values else b""


def _known(header: bytes, types: Mapping[str, Callable[[Any], object]]) -> dict[str, Any]:
    values = json.loads(header)
    return {name: read(values[name]) for name, read in types.items() if name in values}


_REQUEST: dict[str, Callable[[Any], object]] = {
    "query": dict,
    "accept": str,
    "parts": list,
    "hook": str,
    "v2": str,
    "messages": bool,
}
_REPLY: dict[str, Callable[[Any], object]] = {
    "status": int,
    "type": str,
    "more": bool,
    "broken": bool,
}
_PLAIN_REQUEST = RequestHeader()
_PLAIN_REPLY = ReplyHeader()
_PIECE = ReplyHeader(more=True)
