"""Tokens against the gateway and the control plane (quality.md S7): never let in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import raw_http
from live import BODY, entry, import_echo, service
from modelyard.clock import SystemClock
from modelyard.iam.keys import KeyRing, SigningKey
from stack import Stack


@dataclass(frozen=True)
class Forge:
    """What a forger may know, the platform's own key included, and a good token's content."""

    key: SigningKey
    claims: dict[str, Any]

    def sign(self, **changes: Any) -> str:
        """A token signed with the platform's key; None drops a claim."""
        payload = {k: v for k, v in {**self.claims, **changes}.items() if v is not None}
        return jwt.encode(payload, self.key.private, "ES256", {"kid": self.key.kid})

    def with_own_key(self, kid: str | None) -> str:
        own = ec.generate_private_key(ec.SECP256R1())
        return jwt.encode(self.claims, own, "ES256", {"kid": kid} if kid else None)

    def unsigned(self, **header: str) -> str:
        parts = [{"typ": "JWT", "alg": "none", **header}, self.claims]
        return ".".join(map(_part, parts)) + "."

    def hs256(self, secret: bytes) -> str:
        text = ".".join(
            map(_part, [{"alg": "HS256", "typ": "JWT", "kid": self.key.kid}, self.claims])
        )
        digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
        return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"

    def public_pem(self) -> bytes:
        return self.key.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def altered(self) -> str:
        """Another content under a good signature."""
        head, _, signature = self.sign().split(".")
        return f"{head}.{_part({**self.claims, 'roles': ['admin', 'root']})}.{signature}"


def _part(value: object) -> str:
    text = json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


NOW = int(time.time())
OTHER = {"id": "f" * 32, "name": "elsewhere"}

BAD: dict[str, Callable[[Forge], str]] = {
    "garbage": lambda f: "garbage",
    "empty": lambda f: "",
    "dots": lambda f: "..",
    "expired": lambda f: f.sign(exp=int(time.time()) - 60),
    "not yet valid": lambda f: f.sign(nbf=int(time.time()) + 3600),
    "alg none": lambda f: f.unsigned(),
    "alg None": lambda f: f.unsigned(alg="None"),
    "alg none with kid": lambda f: f.unsigned(kid=f.key.kid),
    "HS256 with the public PEM": lambda f: f.hs256(f.public_pem()),
    "HS256 with the public JWK": lambda f: f.hs256(json.dumps(f.key.jwk()).encode()),
    "unknown kid": lambda f: f.with_own_key("0000000000-00000000"),
    "our kid, another key": lambda f: f.with_own_key(f.key.kid),
    "no kid, another key": lambda f: f.with_own_key(None),
    "content altered": lambda f: f.altered(),
    "signature cut": lambda f: f.sign()[:-8],
    "another issuer": lambda f: f.sign(iss="somebody"),
    "no expiry": lambda f: f.sign(exp=None),
    "8 KB of claims": lambda f: f.sign(exp=NOW - 60, filler="x" * 8192),
    "another project": lambda f: f.sign(project=OTHER),
    "no project": lambda f: f.sign(project=None),
    "project by name only": lambda f: f.sign(project={"name": f.claims["project"]["name"]}),
    "project is a list": lambda f: f.sign(project=[f.claims["project"]["id"]]),
}


@pytest.fixture(scope="module")
def service_id(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = import_echo(stack, tmp_path_factory.mktemp("tokens"), "tokens", "1.0.0")
    with service(stack, [entry(model, 100)]) as found:
        yield found


@pytest.fixture(scope="module")
def forge(stack: Stack) -> Forge:
    ring = KeyRing(Path(stack.home) / "keys", SystemClock(), 86400)
    token = stack.token()
    return Forge(ring.signing, jwt.decode(token, options={"verify_signature": False}))


def predict(stack: Stack, service_id: str, **headers: str) -> raw_http.RawAnswer:
    sent = raw_http.request("POST", f"/v1/infers/{service_id}", headers, BODY.encode())
    return raw_http.send(stack.address, sent)


def assert_refused(answer: raw_http.RawAnswer) -> None:
    assert answer.status in (401, 403), (answer.status, answer.body)
    assert not answer.reached_an_instance
    body = answer.json()
    assert body["error_code"].startswith(("ModelArts.02", "APIG.03")), body
    assert body["error_msg"], body


def test_a_good_token_is_let_in(stack: Stack, service_id: str, forge: Forge) -> None:
    assert predict(stack, service_id, **{"X-Auth-Token": forge.sign()}).status == 200
    assert predict(stack, service_id, **{"x-auth-token": forge.sign()}).status == 200


@pytest.mark.parametrize("name", BAD)
def test_predictions_refuse(stack: Stack, service_id: str, forge: Forge, name: str) -> None:
    token = BAD[name](forge)
    # Twice: a refusal must not be cached as anything else.
    for _ in range(2):
        assert_refused(predict(stack, service_id, **{"X-Auth-Token": token}))


@pytest.mark.parametrize("name", BAD)
def test_the_control_plane_refuses(stack: Stack, service_id: str, forge: Forge, name: str) -> None:
    target = f"/v1/{stack.project_id}/services/{service_id}"
    sent = raw_http.request("GET", target, {"X-Auth-Token": BAD[name](forge)}, b"")
    assert_refused(raw_http.send(stack.address, sent))


def test_no_token_and_tokens_in_other_places(stack: Stack, service_id: str, forge: Forge) -> None:
    good = forge.sign()
    assert_refused(predict(stack, service_id))
    assert_refused(predict(stack, service_id, Authorization=f"Bearer {good}"))
    assert_refused(predict(stack, service_id, Cookie=f"X-Auth-Token={good}"))
    for name in ("access_token", "X-Auth-Token", "token"):
        assert_refused(predict(stack, f"{service_id}?{name}={good}"))


def test_a_huge_token_closes_no_door_behind_it(stack: Stack, service_id: str, forge: Forge) -> None:
    answer = predict(stack, service_id, **{"X-Auth-Token": "x" * 200_000})
    assert answer.status in (0, 400, 401, 403, 431)
    assert predict(stack, service_id, **{"X-Auth-Token": forge.sign()}).status == 200


def test_a_cached_token_ends_with_its_expiry(stack: Stack, service_id: str, forge: Forge) -> None:
    expires = int(time.time()) + 3
    token = forge.sign(exp=expires)
    last_let_in = 0.0
    while True:
        asked = time.time()
        answer = predict(stack, service_id, **{"X-Auth-Token": token})
        if answer.status != 200:
            break
        last_let_in = asked
        assert asked < expires + 3, "the token outlives its expiry in the cache"
        time.sleep(0.02)
    assert last_let_in > expires - 2, "it was never let in"
    # The gateway grants one second of clock skew, and counts in whole seconds.
    assert last_let_in <= expires + 2.1, last_let_in - expires
    assert_refused(answer)
    assert answer.json()["error_code"] == "ModelArts.0202"
