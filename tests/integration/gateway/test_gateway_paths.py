"""Path tricks: the same service or a refusal, the token always checked (quality.md S2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway_support import (
    OTHER_PROJECT,
    Answer,
    World,
    exchange,
    service,
    upstreams,
    version,
    world,
)

MINE = "22222222-0000-4000-8000-00000000000a"
THEIRS = "22222222-0000-4000-8000-00000000000b"
UNKNOWN = "22222222-0000-4000-8000-00000000000c"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with upstreams("mine", "theirs") as (mine, theirs):
        traffics = [
            service(MINE, version("m", 100, mine)),
            service(THEIRS, version("m", 100, theirs), project_id=OTHER_PROJECT),
        ]
        async with world(tmp_path, traffics) as running:
            yield running


def reached(answer: Answer) -> str:
    """Who answered: an upstream's name, or the status of a refusal."""
    return answer.headers.get("x-upstream", str(answer.status))


# What my token gets. Without a token each must be 401, or what "open" says.
PATHS = [
    (f"/v1/infers/{MINE}", "mine", "401"),
    (f"/v1/infers/{MINE}/", "mine", "401"),
    (f"/v1/infers/{MINE}?q=1", "mine", "401"),
    (f"/v1/infers/{MINE}/x?q=1", "mine", "401"),
    (f"/v1/infers/{MINE}?x=/v1/infers/{THEIRS}", "mine", "401"),
    (f"//v1//infers//{MINE}//x", "mine", "401"),
    (f"/v1/infers//{MINE}", "mine", "401"),
    (f"/./v1/./infers/{MINE}", "mine", "401"),
    (f"/v1/x/../infers/{MINE}", "mine", "401"),
    (f"/v1/x/%2e%2e/infers/{MINE}", "mine", "401"),
    (f"/v1/x/%2E%2e/infers/{MINE}/y", "mine", "401"),
    (f"/v1%2finfers%2F{MINE}", "mine", "401"),
    (f"/v1%5cinfers%5C{MINE}", "mine", "401"),
    (f"/v1\\infers\\{MINE}", "mine", "401"),
    (f"/v1/x/..%2finfers/{MINE}", "mine", "401"),
    (f"/v1/infers/{THEIRS}/../{MINE}", "mine", "401"),
    (f"/v1/infers/{THEIRS}%2f..%2f{MINE}", "mine", "401"),
    (f"http://modelyard/v1/infers/{MINE}", "mine", "401"),
    (f"/%76%31/infers/{MINE}", "mine", "401"),
    (f"/v1/infers/{THEIRS}", "403", "401"),
    (f"/v1/infers/{MINE}/../{THEIRS}", "403", "401"),
    (f"/v1/infers/{MINE}/%2e%2e/{THEIRS}", "403", "401"),
    (f"/v1/infers/{MINE}%2f%2e%2e%2f{THEIRS}", "403", "401"),
    (f"/v1/infers/{MINE}/..%5c{THEIRS}/x", "403", "401"),
    (f"/v1/infers/{MINE}/x/../../{THEIRS}/x", "403", "401"),
    (f"/v1/infers/{MINE};x", "404", "401"),
    (f"/v1/infers/{MINE};/../{THEIRS}", "403", "401"),
    (f"/v1/infers/{MINE}%3b", "404", "401"),
    (f"/v1/infers/{MINE}%20", "404", "401"),
    (f"/v1/infers/{MINE}%252f..%252f{THEIRS}", "404", "401"),
    (f"/v1/infers/{MINE}%3fx", "404", "401"),
    (f"/v1/infers/{MINE.upper()}", "404", "401"),
    (f"/v1/infers/{UNKNOWN}", "404", "401"),
    (f"/v1/infers/*{MINE}", "404", "401"),
    ("/v1/infers/?control-plane", "400", "401"),
    ("/v1/infers/%3fcontrol-plane", "404", "401"),
    ("/v1/infers/control-plane", "404", "401"),
    ("/v1/infers", "400", "401"),
    ("/v1/infers/", "400", "401"),
    ("/v1/infers?q=1", "400", "401"),
    ("/v1/infers/..", "api", "api"),
    (f"/v1/infers/{MINE}/../..", "api", "api"),
    (f"/V1/INFERS/{MINE}", "api", "api"),
    (f"/v1/inferS/{MINE}", "api", "api"),
    (f"/v1/infers;/{MINE}", "api", "api"),
    (f"/v1/infers%00/{MINE}", "400", "400"),
    (f"/v1/infers/{MINE}%00", "400", "400"),
    (f"/v1/infers/{MINE}#x", "400", "400"),
    (f"v1/infers/{MINE}", "400", "400"),
    ("/", "api", "api"),
    ("/v3/auth/tokens", "api", "api"),
    (f"/v1/p/services/{MINE}?x=/v1/infers/", "api", "api"),
    (f"/v1/p/services/{MINE}", "api", "api"),
    ("/x/y/z", "api", "api"),
]


async def test_every_spelling_is_judged_as_what_it_means(here: World) -> None:
    wrong = []
    for path, mine, nobody in PATHS:
        with_token, without = await asyncio.gather(here.call(path), here.call(path, token=None))
        if (reached(with_token), reached(without)) != (mine, nobody):
            wrong.append((path, reached(with_token), reached(without)))
    assert wrong == []


async def test_no_header_of_a_client_chooses_the_service(here: World) -> None:
    for value in (f"/v1/infers/{MINE}", "/v1/infers/?control-plane", "", "/", MINE):
        for names in (["x-modelyard-scope"], ["X-Modelyard-Scope", "x-modelyard-scope"]):
            spoofed = [(name, value) for name in names]
            steering = [
                *spoofed,
                ("x-envoy-original-path", f"/v1/infers/{MINE}"),
                ("x-original-url", f"/v1/infers/{MINE}"),
                ("x-rewrite-url", f"/v1/infers/{MINE}"),
                ("x-http-method-override", "GET"),
            ]
            foreign = await here.predict(THEIRS, headers=steering)
            assert (foreign.status, foreign.code) == (403, "ModelArts.0210")
            assert (await here.predict(MINE, headers=steering, token=None)).status == 401
            assert reached(await here.predict(MINE, headers=steering)) == "mine"
            assert reached(await here.call("/v1/p/models", headers=steering)) == "api"


async def test_claims_cannot_be_given_by_header(here: World) -> None:
    claims = [("claims", "{}"), ("x-jwt-payload", "e30="), ("x-envoy-dynamic-metadata", "{}")]
    assert (await here.predict(THEIRS, headers=claims)).status == 403
    assert (await here.predict(MINE, headers=claims, token=None)).status == 401


async def test_smuggled_requests_reach_no_second_service(here: World) -> None:
    token = here.tokens.token()
    for framing in (
        b"content-length: 4\r\ntransfer-encoding: chunked\r\n",
        b"content-length: 4\r\ncontent-length: 5\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"content-length: 2\r\n folded: x\r\n",
    ):
        request = (
            f"POST /v1/infers/{MINE} HTTP/1.1\r\nhost: x\r\nx-auth-token: {token}\r\n".encode()
            + framing
            + b"\r\n0\r\n\r\nPOST /v1/infers/"
            + THEIRS.encode()
            + b" HTTP/1.1\r\nhost: x\r\n\r\n"
        )
        try:
            answer = await exchange(here.settings.gateway.port, request)
        except asyncio.IncompleteReadError:
            continue
        assert answer.status in (400, 501), framing
    assert all(seen.path == "/" for seen in here.api.seen)
