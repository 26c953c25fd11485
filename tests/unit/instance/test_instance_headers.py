"""The typed headers between front and worker, and the bytes that a former build writes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_instance.headers import JSON, MORE, Greeting, ReplyHeader, RequestHeader

TEXT = st.text(max_size=8)
PARTS = st.lists(st.tuples(TEXT, st.none() | TEXT, TEXT, st.integers(0, 99)).map(list), max_size=3)
REQUESTS = st.builds(
    RequestHeader,
    query=st.dictionaries(TEXT, TEXT, max_size=3),
    accept=TEXT,
    parts=st.none() | PARTS,
    hook=st.sampled_from(["", "batch"]),
    v2=st.none() | TEXT,
    messages=st.booleans(),
)
WHOLE = st.builds(ReplyHeader, st.integers(100, 599), TEXT)
PIECES = st.one_of(
    WHOLE.map(lambda whole: replace(whole, more=True, first=True)),
    st.just(ReplyHeader(more=True)),
    st.booleans().map(lambda broken: ReplyHeader(more=False, broken=broken)),
)
GREETINGS = st.one_of(
    st.builds(Greeting, st.just(True), st.integers(1, 1024), st.none() | st.just({"name": "m"})),
    st.builds(Greeting, ready=st.just(False), message=TEXT),
)


@given(REQUESTS)
def test_a_requests_header_survives_the_way(header: RequestHeader) -> None:
    assert RequestHeader.decode(header.encode()) == header


@given(WHOLE | PIECES)
def test_an_answers_header_survives_the_way(header: ReplyHeader) -> None:
    assert ReplyHeader.decode(header.encode()) == header


@given(GREETINGS)
def test_a_greeting_survives_the_way(greeting: Greeting) -> None:
    assert Greeting.decode(greeting.encode()) == greeting


def test_a_plain_prediction_costs_no_json() -> None:
    assert RequestHeader().encode() == ReplyHeader().encode() == b""
    assert RequestHeader.decode(b"") is RequestHeader.decode(b"")
    assert ReplyHeader.decode(b"") is ReplyHeader.decode(b"")
    assert ReplyHeader.decode(MORE) is ReplyHeader.decode(MORE)


@pytest.mark.parametrize(
    ("written", "header"),
    [
        (b"{}", RequestHeader()),
        (b'{"query": {"a": "1"}, "hook": "batch"}', RequestHeader({"a": "1"}, hook="batch")),
        (b'{"v2": "1.0.0", "messages": true}', RequestHeader(v2="1.0.0", messages=True)),
        (b'{"of_a_later_build": 1}', RequestHeader()),
    ],
)
def test_requests_of_other_builds_are_read(written: bytes, header: RequestHeader) -> None:
    assert RequestHeader.decode(written) == header


@pytest.mark.parametrize(
    ("written", "header"),
    [
        (b'{"status": 500, "type": "application/json"}', ReplyHeader(500, JSON)),
        (
            b'{"status": 200, "type": "text/plain", "more": true}',
            ReplyHeader(200, "text/plain", more=True, first=True),
        ),
        (b'{"more":true}', ReplyHeader(more=True)),
        (b'{"more":false}', ReplyHeader(more=False)),
        (b'{"more":false,"broken":true}', ReplyHeader(more=False, broken=True)),
    ],
)
def test_answers_of_other_builds_are_read(written: bytes, header: ReplyHeader) -> None:
    assert ReplyHeader.decode(written) == header
    assert json.loads(header.encode()) == json.loads(written)


@pytest.mark.parametrize(
    ("written", "greeting"),
    [
        (b'{"event": "ready", "batch": 64, "v2": null}', Greeting(True, 64)),
        (b'{"event": "ready"}', Greeting(True)),
        (b'{"event": "failed", "message": "no model"}', Greeting(False, message="no model")),
        (b'{"event": "failed"}', Greeting(False)),
    ],
)
def test_greetings_of_other_builds_are_read(written: bytes, greeting: Greeting) -> None:
    assert Greeting.decode(written) == greeting
