"""Passwords: Argon2, off the event loop, and equally slow for users that do not exist."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# 19 MiB, two passes, one lane: strong enough, and two at once cost a small machine little.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Callers without a token reach this, so it must not take every core and all memory.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _hasher.hash("nobody has this password")


def _verify(stored: str | None, password: str) -> bool:
    try:
        matches = _hasher.verify(stored or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return matches and stored is not None


async def hash_password(password: str) -> str:
    """The encoded Argon2 hash of ``password``."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, password)


async def verify_password(stored: str | None, password: str) -> bool:
    """Whether ``password`` is the one that was hashed to ``stored``.

    ``None`` stands for an unknown user: never true, and as slow as a wrong password.
    """
    return await asyncio.get_running_loop().run_in_executor(_threads, _verify, stored, password)
