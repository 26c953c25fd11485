"""Tokens: what is not ours, not now or not for this project is refused (quality.md S7)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest
from gateway_support import (
    OTHER_PROJECT,
    TokenMaker,
    Upstream,
    World,
    eventually,
    service,
    upstreams,
    version,
    world,
)

from modelyard.errors import GatewayTimeout
from modelyard.gateway import publisher

S = "33333333-0000-4000-8000-000000000001"


@asynccontextmanager
async def serving(home: Path) -> AsyncIterator[tuple[World, Upstream]]:
    """One service with one instance."""
    async with upstreams("a") as (a,), world(home, [service(S, version("m", 100, a))]) as here:
        yield here, a


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_with_public_key(tokens: TokenMaker, secret: bytes) -> str:
    """HS256 keyed with what everybody knows; made by hand since libraries refuse to."""
    head = b64(json.dumps({"alg": "HS256", "typ": "JWT", "kid": tokens.kid}).encode())
    body = b64(json.dumps(tokens.claims()).encode())
    mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{b64(mac)}"


def bad_tokens(tokens: TokenMaker) -> list[tuple[str, str | None, int, str]]:
    """What is wrong, the token, and the status and code it deserves."""
    now = int(time.time())
    good = tokens.token()
    head, body, signature = good.split(".")
    stranger = TokenMaker(kid=tokens.kid)
    raw_jwk = json.dumps(tokens.jwk()).encode()
    claims = tokens.claims()
    none_with_key = b64(json.dumps({"alg": "none", "kid": tokens.kid}).encode())
    altered = b64(json.dumps({**claims, "sub": "root"}).encode())
    return [
        ("none", None, 401, "0201"),
        ("empty", "", 401, "0201"),
        ("expired", tokens.token(exp=now - 5, iat=now - 100, nbf=now - 100), 401, "0202"),
        ("not yet", tokens.token(nbf=now + 60), 401, "0203"),
        ("no exp", tokens.token(exp=None), 401, "0203"),
        ("alg none", jwt.encode(claims, None, algorithm="none"), 401, "0203"),
        ("alg none kid", f"{none_with_key}.{body}.", 401, "0203"),
        ("alg none signed", f"{none_with_key}.{body}.{signature}", 401, "0203"),
        ("hs pem", signed_with_public_key(tokens, tokens.public_pem), 401, "0203"),
        ("hs jwk", signed_with_public_key(tokens, raw_jwk), 401, "0203"),
        ("wrong kid", tokens.token(kid="key-2"), 401, "0203"),
        ("other key", stranger.token(), 401, "0203"),
        ("issuer", tokens.token(iss="somebody"), 401, "0203"),
        ("altered", f"{head}.{altered}.{signature}", 401, "0203"),
        ("no signature", f"{head}.{body}.", 401, "0203"),
        ("cut", good[:-10], 401, "0203"),
        ("garbage", "garbage", 401, "0203"),
        ("dots", "..", 401, "0203"),
        ("long garbage", "x" * 9000, 401, "0203"),
        ("long parts", f"{head}.{'A' * 9000}.{signature}", 401, "0203"),
        ("bearer", f"Bearer {good}", 401, "0203"),
        ("two", f"{good},{good}", 401, "0203"),
        ("foreign", tokens.token(OTHER_PROJECT), 403, "0210"),
        ("no project", tokens.token(None), 401, "0212"),
        ("project text", tokens.token(None, project="0" * 31 + "1"), 401, "0212"),
        ("project list", tokens.token(None, project={"id": ["0" * 31 + "1"]}), 403, "0210"),
        ("project prefix", tokens.token("0" * 30), 403, "0210"),
    ]


async def test_bad_tokens_get_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as (here, a):
        wrong = []
        for name, token, status, code in bad_tokens(here.tokens):
            for _ in range(2):  # the second time from the cache
                answer = await here.predict(S, token=token)
                if (answer.status, answer.code) != (status, f"ModelArts.{code}"):
                    wrong.append((name, answer.status, answer.body))
        assert wrong == []
        assert a.count == 0
        assert (await here.predict(S)).status == 200
        for header in ("authorization", "x-subject-token", "cookie"):
            given = [(header, f"Bearer {here.tokens.token()}")]
            assert (await here.predict(S, token=None, headers=given)).status == 401
        query = f"/v1/infers/{S}?access_token={here.tokens.token()}"
        assert (await here.call(query, token=None)).status == 401


async def test_unknown_services_ask_for_a_token_too(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        answer = await here.predict("nobody", token=None)
        assert (answer.status, answer.code) == (401, "ModelArts.0201")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        answer = await here.predict("nobody")
        assert (answer.status, answer.code) == (404, "ModelArts.4204")
        assert "does not exist" in answer.json()["error_msg"]


async def test_a_remembered_token_ends_with_its_time(tmp_path: Path) -> None:
    async with serving(tmp_path) as (here, _):
        expires = int(time.time()) + 2
        token = here.tokens.token(exp=expires)
        assert (await here.predict(S, token=token)).status == 200

        async def refused() -> bool:
            answer = await here.predict(S, token=token)
            return answer.status == 401 and answer.code == "ModelArts.0202"

        await eventually(refused, timeout_s=8, every_s=0.1)
        assert time.time() < expires + 2.5  # one second of tolerance for clocks


async def test_keys_are_changed_without_a_dropped_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as (here, _):
        fresh = TokenMaker(kid="key-2")
        assert (await here.predict(S, token=fresh.token())).status == 401
        async with here.load(S) as load:
            await load.more(20)
            await here.gateway.set_jwks({"keys": [here.tokens.jwk(), fresh.jwk()]})
            await eventually(lambda: _accepts(here, fresh))
            await load.more(20)
        assert load.failures == []
        await here.gateway.set_jwks(fresh.jwks())

        async def old_is_out() -> bool:
            return (await here.predict(S)).status == 401

        await eventually(old_is_out)


async def test_keys_that_envoy_does_not_take_over_are_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_ACK_S", 0.5)
    async with serving(tmp_path) as (here, _):
        fresh = TokenMaker(kid="key-2")
        pid = here.gateway.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(GatewayTimeout):
                await here.gateway.set_jwks({"keys": [here.tokens.jwk(), fresh.jwk()]})
        finally:
            os.kill(pid, signal.SIGKILL)

        async def serves() -> bool:
            try:
                return (await here.predict(S)).status == 200
            except (OSError, asyncio.IncompleteReadError):
                return False

        await eventually(serves)  # the next Envoy has what is to be in force
        assert (await here.predict(S, token=fresh.token())).status == 401


async def _accepts(here: World, maker: TokenMaker) -> bool:
    return (await here.predict(S, token=maker.token())).status == 200
