"""Answers in pieces: what a script's generator yields, as it yields it.

The pieces are server-sent events when the api declares ``text/event-stream`` or the caller accepts
it; else texts or bytes as they are, or one JSON value a line. A script that fails before its first
piece is answered as any other; later, the answer is broken off, with an event before that where the
answer is events. Over a WebSocket each piece is a message (``websocket.py``), never an event.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Generator, Iterator

from modelyard_instance.frames import Channel
from modelyard_instance.headers import MORE, ReplyHeader, RequestHeader
from modelyard_instance.inference.base_services import SingleNodeService
from modelyard_instance.inference.codec import encode
from modelyard_instance.worker.handler import Answer, ask, model_error, script_error

EVENTS = "text/event-stream"
_LINES = "application/x-ndjson"
_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"


def answer_one_by_one(service: SingleNodeService, channel: Channel, declared: str) -> None:
    """Answer each request of ``channel`` when the one before is answered, until the front is gone.

    ``declared``: the response type that the package's api declares.
    """
    while (frame := channel.receive()) is not None:
        header = RequestHeader.decode(frame[0])
        answer = ask(service, header, frame[1])
        if isinstance(answer, Answer):
            channel.send(answer.header(), answer.body)
        else:
            events = wants_events(declared, header.accept) and not header.messages
            send(channel, answer, events=events)


def wants_events(declared: str, accepted: str) -> bool:
    """Whether pieces go out as events: by the api's response type, or the caller's Accept. Pure."""
    return any(EVENTS in one.lower() for one in (declared, accepted))


def event(piece: object) -> bytes:
    """One server-sent event. Raises ``TypeError`` and ``ValueError``. Pure."""
    text = piece if isinstance(piece, str) else encode(piece).decode()
    lines = text.splitlines() or [""]
    return "".join(f"data: {line}\n" for line in lines).encode() + b"\n"


def plain_piece(piece: object) -> bytes:
    """One piece that is not an event. Raises ``TypeError`` and ``ValueError``. Pure."""
    if isinstance(piece, bytes | bytearray):
        return bytes(piece)
    if isinstance(piece, str):
        return piece.encode()
    return encode(piece) + b"\n"


def content_type(piece: object) -> str:
    """The content type of an answer whose first piece is ``piece``. Pure."""
    if isinstance(piece, str):
        return _TEXT
    return _BYTES if isinstance(piece, bytes | bytearray) else _LINES


def send(channel: Channel, pieces: Generator[object], *, events: bool) -> None:
    """Send what ``pieces`` yields, until it ends, fails, or nobody listens any more."""
    form: Callable[[object], bytes] = event if events else plain_piece
    try:
        first = next(pieces, None)
        start = form(first) if first is not None else b""
    except (Exception, SystemExit) as error:
        _whole(channel, script_error(error))
        return
    kind = EVENTS if events else content_type(first)
    channel.send(ReplyHeader(200, kind, more=True, first=True).encode(), start)
    broken = b""
    try:
        for piece in _wanted(channel, pieces):
            channel.send(MORE, form(piece))
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        broken = model_error(error, 500).body
        if events:
            channel.send(MORE, b"event: error\n" + event(broken.decode()))
    finally:
        pieces.close()
    channel.send(ReplyHeader(more=False, broken=bool(broken)).encode(), broken)


def _wanted(channel: Channel, pieces: Iterator[object]) -> Iterator[object]:
    return itertools.takewhile(lambda _: not channel.cancelled(), pieces)


def _whole(channel: Channel, answer: Answer) -> None:
    channel.send(answer.header(), answer.body)
