"""Bodies that are no JSON, or that no database could keep, are refused before anything else."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from modelyard.api.body import read_json
from modelyard.errors import InvalidRequest


def request(raw: bytes) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": raw, "more_body": False}

    return Request({"type": "http", "method": "PUT", "headers": []}, receive)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"description": "\xff"}',
        b"[" * 100_000,
    ],
)
async def test_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await read_json(request(raw))
    assert refused.value.code == "4105"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"description": "a\\u0000b"}', "description"),
        (b'{"config": [{"envs": {"a\\u0000": "1"}}]}', "config[0].envs"),
        (b'{"description": 1e999}', "description"),
        (b'{"schedule": ' + b"[" * 300 + b"]" * 300 + b"}", "schedule"),
        (b'{"additional_properties": {"x": ["\\ud800"]}}', "additional_properties.x[0]"),
    ],
)
async def test_what_no_database_keeps_is_refused_by_name(raw: bytes, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await read_json(request(raw))
    assert refused.value.code == "3037"
    assert refused.value.message.startswith(field)


async def test_read_whatever_its_declared_type() -> None:
    assert await read_json(request(b'{"a": ["\\u00e9", 1]}')) == {"a": ["é", 1]}
    assert await read_json(request(b" ")) is None
