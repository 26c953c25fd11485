"""Tokens: ES256 JWTs that say who calls (iam.md §1); the gateway verifies the same ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypedDict

import jwt

from modelyard.clock import Clock
from modelyard.errors import Unauthenticated
from modelyard.iam.claims import ISSUER, Claims
from modelyard.iam.keys import Jwks, KeyRing

_ALGORITHM = "ES256"
_REQUIRED = ["iss", "sub", "iat", "nbf", "exp", "jti"]
_LONGEST_TOKEN = 8 * 1024


class Named(TypedDict):
    """A domain or project inside a token."""

    id: str
    name: str


class Tokens:
    """Issues and verifies tokens with the keys of ``keys``; ``lifetime`` in seconds."""

    def __init__(self, keys: KeyRing, clock: Clock, lifetime: int) -> None:
        self._keys = keys
        self._clock = clock
        self._lifetime = lifetime
        self._rotating = asyncio.Lock()

    def issue(
        self,
        *,
        user: Named,
        domain: Named,
        project: Named | None = None,
        roles: tuple[str, ...] = (),
        not_after: int | None = None,
    ) -> tuple[str, Claims]:
        """A new token and what it says.

        ``not_after`` (seconds since 1970) caps its life, as re-scoping must not prolong one.
        """
        now = self._clock.now_ms() // 1000
        expires_at = now + self._lifetime
        if not_after is not None:
            expires_at = min(expires_at, not_after)
        claims = Claims(
            user_id=user["id"],
            user_name=user["name"],
            domain_id=domain["id"],
            domain_name=domain["name"],
            project_id=project["id"] if project else None,
            project_name=project["name"] if project else None,
            roles=roles,
            issued_at=now,
            expires_at=expires_at,
            token_id=self._clock.new_hex(32),
        )
        payload: dict[str, object] = {
            "iss": ISSUER,
            "sub": claims.user_id,
            "iat": now,
            "nbf": now,
            "exp": expires_at,
            "jti": claims.token_id,
            "user": claims.user_name,
            "domain": domain,
            "roles": list(roles),
        }
        if project:
            payload["project"] = project
        key = self._keys.signing
        token = jwt.encode(payload, key.private, algorithm=_ALGORITHM, headers={"kid": key.kid})
        return token, claims

    def verify(self, token: str) -> Claims:
        """What a good token says.

        Raises ``Unauthenticated``: 0202 for one that has expired, 0203 for every other fault.
        """
        payload = self._checked(token)
        now = self._clock.now_ms() / 1000
        try:
            claims = _claims(payload)
            not_before = int(payload["nbf"])  # type: ignore[call-overload]
        except (KeyError, TypeError, ValueError):
            raise _unreadable() from None
        if now >= claims.expires_at:
            raise Unauthenticated(
                "The token has expired. Get a new one from POST /v3/auth/tokens.", code="0202"
            )
        if now < not_before:
            raise Unauthenticated("The token is not valid yet.", code="0203")
        return claims

    def jwks(self) -> Jwks:
        """The public keys that verify living tokens, for the gateway."""
        return self._keys.jwks()

    async def rotate(self, publish: Callable[[Jwks], Awaitable[None]]) -> Jwks:
        """Sign with a new key, once ``publish`` has returned: by then the gateway must know it.

        Returns the keys that verify now. When ``publish`` raises, so does this, and the key before
        goes on signing.
        """
        async with self._rotating:
            self._keys.stage()
            try:
                await publish(self._keys.jwks())
                self._keys.promote()
            finally:
                self._keys.drop_staged()
            return self._keys.jwks()

    def _checked(self, token: str) -> dict[str, object]:
        """The payload of a token whose signature, issuer and form are right, whatever its age."""
        if len(token) > _LONGEST_TOKEN:
            raise _unreadable()
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.find(str(header.get("kid")))
            if key is None:
                raise _unreadable()
            payload: dict[str, object] = jwt.decode(
                token,
                key.public,
                algorithms=[_ALGORITHM],
                issuer=ISSUER,
                # Times are compared with the injected clock in verify().
                options={
                    "require": _REQUIRED,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
        except (jwt.PyJWTError, ValueError):
            raise _unreadable() from None
        return payload


def _claims(payload: dict[str, object]) -> Claims:
    domain = _named(payload["domain"])
    project = _named(payload["project"]) if payload.get("project") is not None else None
    roles = payload.get("roles")
    if not isinstance(roles, list):
        raise TypeError("roles")
    return Claims(
        user_id=str(payload["sub"]),
        user_name=str(payload["user"]),
        domain_id=domain["id"],
        domain_name=domain["name"],
        project_id=project["id"] if project else None,
        project_name=project["name"] if project else None,
        roles=tuple(str(role) for role in roles),
        issued_at=int(payload["iat"]),  # type: ignore[call-overload]
        expires_at=int(payload["exp"]),  # type: ignore[call-overload]
        token_id=str(payload["jti"]),
    )


def _named(value: object) -> Named:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return {"id": str(value["id"]), "name": str(value["name"])}


def _unreadable() -> Unauthenticated:
    return Unauthenticated(
        "The token does not verify. Get a new one from POST /v3/auth/tokens.", code="0203"
    )
