"""Messages of WebSockets before their turn: whole, in order, bounded, and counted to the byte."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from modelyard_instance.server.messages import Allowance, Inbox, payload

LIMIT = 10
PIECES = st.lists(st.binary(max_size=6), min_size=1, max_size=4)


@given(st.lists(PIECES, max_size=8), st.integers(0, 60))
def test_messages_come_out_whole_and_in_order(sent: list[list[bytes]], waiting: int) -> None:
    allowance = Allowance(LIMIT, waiting)
    inbox = Inbox(allowance)
    for pieces in sent:
        for number, piece in enumerate(pieces, 1):
            inbox.feed(piece, last=number == len(pieces))
            assert 0 <= allowance.held <= waiting
    for pieces in sent:
        message = inbox.pop()
        assert message is not None
        if message.refusal is None:
            assert message.body == b"".join(pieces)
        else:
            assert message.body == b""
            # Too large by itself, or beside the others.
            assert message.refusal.status in (413, 503)
        if sum(map(len, pieces)) > LIMIT:
            assert message.refusal is not None
    assert inbox.pop() is None
    assert allowance.held == 0


@given(st.lists(PIECES, max_size=8), st.integers(0, 8), st.booleans())
def test_what_is_forgotten_is_given_back(
    sent: list[list[bytes]], popped: int, arriving: bool
) -> None:
    allowance = Allowance(LIMIT, 1000)
    allowance.held = 7  # another connection's
    inbox = Inbox(allowance)
    for pieces in sent:
        for number, piece in enumerate(pieces, 1):
            inbox.feed(piece, last=number == len(pieces))
    if arriving:
        inbox.feed(b"abc", last=False)
    for _ in range(popped):
        inbox.pop()
    inbox.clear()
    assert allowance.held == 7
    assert inbox.pop() is None
    inbox.feed(b"new", last=True)
    message = inbox.pop()
    assert message is not None
    assert message.body == b"new"


def test_two_connections_share_what_may_wait() -> None:
    allowance = Allowance(LIMIT, 12)
    first, second = Inbox(allowance), Inbox(allowance)
    first.feed(b"x" * 8, last=True)
    second.feed(b"y" * 8, last=True)
    message = second.pop()
    assert message is not None
    assert message.refusal is not None
    assert json.loads(message.refusal.body)["error_code"] == "ModelArts.4302"
    assert first.pop() is not None
    second.feed(b"y" * 8, last=True)
    message = second.pop()
    assert message is not None
    assert message.refusal is None


def test_reading_stops_when_much_waits() -> None:
    inbox = Inbox(Allowance(1 << 22, 1 << 24))
    for _ in range(63):
        inbox.feed(b"", last=True)
        assert not inbox.full
    inbox.feed(b"", last=True)
    assert inbox.full
    inbox.pop()
    assert not inbox.full
    inbox.feed(bytes(1 << 20), last=True)
    assert inbox.full


def test_texts_are_texts_and_the_rest_is_bytes() -> None:
    assert payload(b"application/json", b'"\xc3\xbc"') == '"ü"'
    assert payload(b"text/plain; charset=utf-8", b"x") == "x"
    assert payload(b"application/x-ndjson", b"{}") == "{}"
    assert payload(b"application/octet-stream", b"x") == b"x"
    # A script may mix its pieces.
    assert payload(b"text/plain; charset=utf-8", b"\xff") == b"\xff"
