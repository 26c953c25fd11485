"""Plan tokens: written, read again, compared."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace

import pytest

from modelyard.domain.preview.plan_token import PlanToken, difference, digest_of
from modelyard.errors import InvalidRequest

TOKEN = PlanToken(
    asked=digest_of("update", {"a": 1, "b": [2]}),
    status="running",
    numbers={"generation": 3, "serving": 1, "live": None},
    instances={"11111111": "ready", "22222222": "starting"},
    models={"m": "published"},
    room={"the shared pool": True},
)


def test_a_token_reads_as_it_was_written() -> None:
    text = TOKEN.encode()
    assert PlanToken.decode(text) == TOKEN
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert difference(TOKEN, TOKEN) == ()


def test_a_large_service_still_has_a_token_for_a_url() -> None:
    many = {f"{number * 2654435761 % 2**32:08x}": "ready" for number in range(640)}
    token = replace(TOKEN, instances=many)
    assert len(token.encode()) < 6_000
    assert PlanToken.decode(token.encode()) == token


def test_the_same_request_has_the_same_digest() -> None:
    assert digest_of("update", {"b": [2], "a": 1}) == TOKEN.asked
    assert digest_of("patch", {"a": 1, "b": [2]}) != TOKEN.asked
    assert digest_of("update", {"a": 1, "b": [2, 3]}) != TOKEN.asked


@pytest.mark.parametrize(
    ("present", "told"),
    [
        (replace(TOKEN, asked="x"), "the token belongs to another request"),
        (replace(TOKEN, status="concerning"), "the service was running and is concerning"),
        (
            replace(TOKEN, numbers={**TOKEN.numbers, "generation": 4}),
            "the service was changed meanwhile (generation 3 then, 4 now)",
        ),
        (
            replace(TOKEN, numbers={**TOKEN.numbers, "live": 1}),
            "another revision was reached in full (live none then, 1 now)",
        ),
        (
            replace(TOKEN, instances={"11111111": "ready"}),
            "instance 22222222 was starting and is gone",
        ),
        (
            replace(TOKEN, instances={**TOKEN.instances, "33333333": "ready"}),
            "instance 33333333 has come and is ready",
        ),
        (
            replace(TOKEN, instances={**TOKEN.instances, "22222222": "ready"}),
            "instance 22222222 was starting and is ready",
        ),
        (replace(TOKEN, models={"m": "failed"}), "model m was published and is failed"),
        (
            replace(TOKEN, room={"the shared pool": False}),
            "the shared pool had room for the change and has none now",
        ),
    ],
)
def test_each_difference_is_told(present: PlanToken, told: str) -> None:
    [sentence] = difference(TOKEN, present)
    assert sentence.startswith(told)


def _packed(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(zlib.compress(raw)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        "****",
        "a" * 999,
        _packed(b"\xff"),
        _packed({}),
        _packed([1, "a", "b", {}, {}, {}]),
        _packed([2, "a", "b", {}, {}, {}, {}]),
        _packed([1, "a", 5, {}, {}, {}, {}]),
        _packed([1, "a", "b", {}, [[1, 2]], {}, {}]),
        _packed(b"[" * 60_000),
        _packed(b" " * 1_000_000),
        TOKEN.encode()[:-9],
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="plan_token") as caught:
        PlanToken.decode(text)
    assert (caught.value.status, caught.value.field) == (400, "plan_token")


def test_made_up_values_are_compared_and_not_believed() -> None:
    odd = PlanToken.decode(_packed([1, "a", "b", {"generation": []}, {"i": 5}, {}, {"p": 0}]))
    assert difference(odd, TOKEN)
