"""The keys that tokens are signed with: ES256 pairs in the home, rotatable.

Each pair is one file ``<kid>.pem`` (mode 0600); the youngest signs, the others only verify until
no token of theirs can be alive.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from modelyard.clock import Clock
from modelyard.processes import write_private

_STAGED_AT_MOST_S = 60
_NAME = re.compile(r"(?P<made>\d{10,12})-[0-9a-f]{8}")


class Jwk(TypedDict):
    """One public key in an RFC 7517 set."""

    kty: str
    crv: str
    x: str
    y: str
    kid: str
    use: str
    alg: str


class Jwks(TypedDict):
    """An RFC 7517 key set."""

    keys: list[Jwk]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """``made_at`` in seconds since 1970; it is also the first part of ``kid``."""

    kid: str
    made_at: int
    private: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        return self.private.public_key()

    def jwk(self) -> Jwk:
        """The public half."""
        numbers = ECAlgorithm.to_jwk(self.public, as_dict=True)
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": str(numbers["x"]),
            "y": str(numbers["y"]),
            "kid": self.kid,
            "use": "sig",
            "alg": "ES256",
        }


class KeyRing:
    """The keys in ``folder``; makes the first one when there is none.

    ``token_lifetime`` in seconds: how long a retired key goes on verifying. Raises ``OSError`` when
    the folder cannot be used, ``ValueError`` when a key file is no ES256 private key.
    """

    def __init__(self, folder: Path, clock: Clock, token_lifetime: int) -> None:
        self._folder = folder
        self._clock = clock
        self._lifetime = token_lifetime
        self._staged: SigningKey | None = None
        self._keys = self._load()
        if not self._keys:
            self.stage()
            self.promote()

    @property
    def signing(self) -> SigningKey:
        """The key that new tokens are signed with."""
        return self._keys[-1]

    def find(self, kid: str) -> SigningKey | None:
        """The key of that id, or None."""
        return next((key for key in self._verifying if key.kid == kid), None)

    def jwks(self) -> Jwks:
        """The public half of every key that verifies."""
        return {"keys": [key.jwk() for key in self._verifying]}

    def stage(self) -> SigningKey:
        """Make the next signing key: it verifies from now on, and signs once promoted.

        Until then it is in memory only. Forgets keys whose last token has expired.
        """
        now = self._clock.now_ms() // 1000
        self._forget_expired(now)
        made_at = max([now, *(key.made_at + 1 for key in self._keys)])
        kid = f"{made_at:010d}-{secrets.token_hex(4)}"
        self._staged = SigningKey(kid, made_at, ec.generate_private_key(ec.SECP256R1()))
        return self._staged

    def promote(self) -> None:
        """Sign with the staged key from now on. Raises ``OSError`` when it cannot be written."""
        key = self._staged
        assert key is not None, "no key has been staged"
        pem = key.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self._folder / f"{key.kid}.pem", pem)
        self._keys.append(key)
        self._staged = None

    def drop_staged(self) -> None:
        """Forget the staged key, if there is one."""
        self._staged = None

    @property
    def _verifying(self) -> list[SigningKey]:
        return [*self._keys, self._staged] if self._staged else self._keys

    def _forget_expired(self, now: int) -> None:
        # A key stopped signing a moment after its successor was made: when that was promoted.
        dead = [
            key
            for key, successor in zip(self._keys, self._keys[1:], strict=False)
            if successor.made_at + _STAGED_AT_MOST_S + self._lifetime < now
        ]
        for key in dead:
            (self._folder / f"{key.kid}.pem").unlink(missing_ok=True)
            self._keys.remove(key)

    def _load(self) -> list[SigningKey]:
        if not self._folder.is_dir():
            return []
        keys = [self._read(path) for path in self._folder.glob("*.pem")]
        return sorted((key for key in keys if key), key=lambda key: (key.made_at, key.kid))

    def _read(self, path: Path) -> SigningKey | None:
        name = _NAME.fullmatch(path.stem)
        if name is None:
            return None
        if path.stat().st_mode & 0o077:
            os.chmod(path, 0o600)  # noqa: PTH101
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} is not an ES256 private key; move it away and start again.")
        return SigningKey(path.stem, int(name["made"]), private)
