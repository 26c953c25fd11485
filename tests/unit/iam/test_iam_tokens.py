"""Tokens against everything that must not pass (quality.md S7)."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from modelyard.errors import GatewayTimeout, Unauthenticated
from modelyard.iam.keys import Jwks, KeyRing
from modelyard.iam.tokens import Tokens

LIFETIME = 100
USER = {"id": "u" * 32, "name": "ann"}
DOMAIN = {"id": "d" * 32, "name": "acme"}
PROJECT = {"id": "p" * 32, "name": "local"}


@dataclass
class HeldClock:
    seconds: float = 1_800_000_000.0
    count: int = 0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def new_uuid(self) -> str:
        return self.new_hex()

    def new_hex(self, digits: int = 32) -> str:
        self.count += 1
        return f"{self.count:0{digits}x}"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def keys(tmp_path: Path, clock: HeldClock) -> KeyRing:
    return KeyRing(tmp_path / "keys", clock, LIFETIME)


@pytest.fixture
def tokens(keys: KeyRing, clock: HeldClock) -> Tokens:
    return Tokens(keys, clock, LIFETIME)


def issue(tokens: Tokens) -> str:
    return tokens.issue(user=USER, domain=DOMAIN, project=PROJECT, roles=("member",))[0]


def refused(tokens: Tokens, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(token)
    return caught.value.code


def test_round_trip(tokens: Tokens, clock: HeldClock) -> None:
    token, claims = tokens.issue(user=USER, domain=DOMAIN, project=PROJECT, roles=("member",))
    assert tokens.verify(token) == claims
    assert claims.expires_at - claims.issued_at == LIFETIME
    assert claims.project_id == PROJECT["id"]
    unscoped, said = tokens.issue(user=USER, domain=DOMAIN)
    assert tokens.verify(unscoped) == said
    assert said.project_id is None
    assert "project" not in jwt.decode(unscoped, options={"verify_signature": False})


def test_expiry_to_the_second(tokens: Tokens, clock: HeldClock) -> None:
    token = issue(tokens)
    clock.seconds += LIFETIME - 0.001
    tokens.verify(token)
    clock.seconds += 0.001
    assert refused(tokens, token) == "0202"


def test_not_yet_valid(tokens: Tokens, clock: HeldClock) -> None:
    token = issue(tokens)
    clock.seconds -= 1
    assert refused(tokens, token) == "0203"


def _encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_forgeries(tokens: Tokens, keys: KeyRing) -> None:
    good = issue(tokens)
    header, payload, signature = good.split(".")
    content = jwt.decode(good, options={"verify_signature": False})
    kid = keys.signing.kid
    none = f"{_encoded({'alg': 'none', 'kid': kid})}.{payload}."
    public = keys.signing.public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # PyJWT refuses to make this one, attackers do not.
    import hashlib
    import hmac

    hs_head = f"{_encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{payload}"
    mac = hmac.new(public, hs_head.encode(), hashlib.sha256).digest()
    hs256 = f"{hs_head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    stranger = ec.generate_private_key(ec.SECP256R1())
    changed = _encoded(content | {"project": {"id": "other", "name": "x"}})
    forged = {
        "none": none,
        "none without kid": f"{_encoded({'alg': 'none'})}.{payload}.",
        "hs256": hs256,
        "other key": jwt.encode(content, stranger, "ES256", headers={"kid": kid}),
        "other kid": jwt.encode(content, keys.signing.private, "ES256", headers={"kid": "x"}),
        "no kid": jwt.encode(content, keys.signing.private, "ES256"),
        "changed": f"{header}.{changed}.{signature}",
        "cut": good[:-4],
        "no signature": f"{header}.{payload}.",
        "empty": "",
        "rubbish": "rubbish",
        "dots": "..",
        "not ascii": "ä.ö.ü",
        "8 KB": good + "A" * 8192,
    }
    for name, token in forged.items():
        assert refused(tokens, token) == "0203", name


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "someone"},
        *({key: None} for key in ("iss", "sub", "iat", "nbf", "exp", "jti", "user", "domain")),
        {"roles": "admin"},
        {"domain": "d"},
        {"project": "p"},
        {"exp": "soon"},
        {"nbf": []},
    ],
)
def test_signed_but_wrong(tokens: Tokens, keys: KeyRing, change: dict[str, object]) -> None:
    content = jwt.decode(issue(tokens), options={"verify_signature": False}) | change
    content = {key: value for key, value in content.items() if value is not None}
    key = keys.signing
    try:
        token = jwt.encode(content, key.private, "ES256", headers={"kid": key.kid})
    except TypeError:
        pytest.skip("cannot even be written")
    assert refused(tokens, token) == "0203"


async def published(_keys: Jwks) -> None:
    """The gateway has them."""


async def test_rotation(tokens: Tokens, keys: KeyRing, clock: HeldClock, tmp_path: Path) -> None:
    old = issue(tokens)
    clock.seconds += LIFETIME / 2
    await tokens.rotate(published)
    new = issue(tokens)
    kids = [jwt.get_unverified_header(token)["kid"] for token in (old, new)]
    assert len(set(kids)) == 2
    tokens.verify(old)
    tokens.verify(new)
    assert [key["kid"] for key in tokens.jwks()["keys"]] == kids
    again = KeyRing(tmp_path / "keys", clock, LIFETIME)
    assert again.signing.kid == kids[1]
    clock.seconds += LIFETIME  # with it ends the last token that the old key can have signed
    await tokens.rotate(published)
    assert kids[0] in [key["kid"] for key in tokens.jwks()["keys"]]
    clock.seconds += 61  # publishing may have taken a moment
    await tokens.rotate(published)
    assert kids[0] not in [key["kid"] for key in tokens.jwks()["keys"]]
    assert len(list((tmp_path / "keys").iterdir())) == 3
    # Twice within a second still gives an order.
    await tokens.rotate(published)
    await tokens.rotate(published)
    last = keys.signing.kid
    assert KeyRing(tmp_path / "keys", clock, LIFETIME).signing.kid == last


async def test_a_new_key_signs_only_when_it_is_published(tokens: Tokens, keys: KeyRing) -> None:
    (first,) = keys.jwks()["keys"]

    async def publish(offered: Jwks) -> None:
        assert len(offered["keys"]) == 2
        token = issue(tokens)
        assert jwt.get_unverified_header(token)["kid"] == first["kid"]
        tokens.verify(token)

    after = await tokens.rotate(publish)
    assert [key["kid"] for key in after["keys"]] == [first["kid"], keys.signing.kid]
    assert jwt.get_unverified_header(issue(tokens))["kid"] == keys.signing.kid != first["kid"]


async def test_what_cannot_be_published_is_dropped(
    tokens: Tokens, keys: KeyRing, clock: HeldClock, tmp_path: Path
) -> None:
    before = keys.jwks()

    async def publish(_keys: Jwks) -> None:
        raise GatewayTimeout("no answer")

    with pytest.raises(GatewayTimeout):
        await tokens.rotate(publish)
    assert keys.jwks() == KeyRing(tmp_path / "keys", clock, LIFETIME).jwks() == before
    tokens.verify(issue(tokens))


async def test_rotations_at_the_same_time_follow_each_other(tokens: Tokens, keys: KeyRing) -> None:
    offered: list[int] = []

    async def publish(public: Jwks) -> None:
        offered.append(len(public["keys"]))
        await asyncio.sleep(0)

    await asyncio.gather(*(tokens.rotate(publish) for _ in range(3)))
    assert offered == [2, 3, 4]
    assert len(keys.jwks()["keys"]) == 4


def test_keys_are_private(keys: KeyRing, tmp_path: Path, clock: HeldClock) -> None:
    (path,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    KeyRing(tmp_path / "keys", clock, LIFETIME)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (jwk,) = keys.jwks()["keys"]
    assert set(jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_a_foreign_key_file_is_an_error(tmp_path: Path, clock: HeldClock) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "1800000000-00000000.pem").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    with pytest.raises(ValueError):
        KeyRing(folder, clock, LIFETIME)
