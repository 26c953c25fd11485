"""``Idempotency-Key``: a repeated call gets its first answer, and acts once.

The key is claimed in the transaction that carries the call out, so that of two at the same time the
second waits for the first; a refused call leaves no trace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelyard.errors import KeyReused
from modelyard.store import idempotent_calls as store
from modelyard.store.database import Session

JsonObject = dict[str, Any]

MEMORY_MS = 24 * 3_600_000
"""How long a first answer is kept."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call with a key: its caller, and a digest of its method, path and body."""

    project_id: str
    user_id: str
    key: str
    digest: str

    @property
    def owner(self) -> store.CallKey:
        return store.CallKey(self.project_id, self.user_id, self.key)


def digest_of(method: str, path: str, body: object) -> str:
    """Return a digest that equal calls share; spaces and the order of members do not count."""
    text = json.dumps([method, path, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


async def first_answer(session: Session, call: Call | None, now: int) -> JsonObject | None:
    """Return the answer that an equal call got within the last 24 hours, or claim the key.

    None: there is none, and the key is claimed. Waits while an equal call is carried out. Raises
    ``KeyReused`` when the key named another call.
    """
    if call is None:
        return None
    await store.forget_call(session, call.owner, now - MEMORY_MS)
    if await store.claim(session, call.owner, call.digest, now):
        return None
    digest, answer = await store.first_call(session, call.owner)
    if digest != call.digest:
        raise KeyReused(
            f"Idempotency-Key: {call.key[:40]!r} named another call (method, path or body) within "
            "the last 24 hours. Send a new key with a new call.",
            field="Idempotency-Key",
        )
    return answer


async def was_answered(session: Session, call: Call | None, now: int) -> bool:
    """Whether ``first_answer`` would return the answer of an equal call."""
    if call is None:
        return False
    return await store.digest_since(session, call.owner, now - MEMORY_MS) == call.digest


async def keep_answer(
    session: Session, call: Call | None, answer: Callable[[], JsonObject]
) -> None:
    """Keep the answer to a call whose key was claimed in this session."""
    if call is not None:
        await store.write_answer(session, call.owner, answer())


async def forget_answers(session: Session, now: int) -> None:
    """Delete the answers that no repeated call gets any more."""
    await store.forget_calls(session, now - MEMORY_MS)
