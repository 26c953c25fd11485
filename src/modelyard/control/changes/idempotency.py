"""``Idempotency-Key``: a call that is repeated gets its first answer, and acts once.

The key is claimed in the transaction that carries the call out, so that of two at the same time
the second waits for the first; what is refused leaves no trace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.errors import KeyReused
from modelyard.store.tables.service import IdempotentCall

JsonObject = dict[str, Any]

MEMORY_MS = 24 * 3_600_000
"""How long a first answer is kept."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call with a key: whose it is, and a digest of what is asked."""

    project_id: str
    user_id: str
    key: str
    digest: str


def digest_of(method: str, path: str, body: object) -> str:
    """Equal for two calls that ask for the same; spaces and the order of members do not count."""
    text = json.dumps([method, path, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


async def first_answer(session: AsyncSession, call: Call | None, now: int) -> JsonObject | None:
    """The answer that an equal call got within the last 24 hours; else None, and the key is ours.

    Raises ``KeyReused`` when the key named another call. Waits while an equal call is carried out.
    """
    if call is None:
        return None
    mine = (
        IdempotentCall.project_id == call.project_id,
        IdempotentCall.user_id == call.user_id,
        IdempotentCall.key == call.key,
    )
    await session.execute(
        delete(IdempotentCall).where(*mine, IdempotentCall.created_at <= now - MEMORY_MS)
    )
    if await _claim(session, call, now):
        return None
    row = (await session.scalars(select(IdempotentCall).where(*mine))).one()
    if row.digest != call.digest:
        raise KeyReused(
            f"Idempotency-Key: {call.key[:40]!r} named another call (method, path or body) within "
            "the last 24 hours. Send a new key with a new call.",
            field="Idempotency-Key",
        )
    return row.answer


async def was_answered(session: AsyncSession, call: Call | None, now: int) -> bool:
    """Whether ``first_answer`` would give the answer of an equal call."""
    if call is None:
        return False
    found = await session.scalar(
        select(IdempotentCall.digest).where(
            IdempotentCall.project_id == call.project_id,
            IdempotentCall.user_id == call.user_id,
            IdempotentCall.key == call.key,
            IdempotentCall.created_at > now - MEMORY_MS,
        )
    )
    return found == call.digest


async def keep_answer(
    session: AsyncSession, call: Call | None, answer: Callable[[], JsonObject]
) -> None:
    """Remember the answer to a call whose key was claimed in this session."""
    if call is None:
        return
    await session.execute(
        update(IdempotentCall)
        .where(
            IdempotentCall.project_id == call.project_id,
            IdempotentCall.user_id == call.user_id,
            IdempotentCall.key == call.key,
        )
        .values(answer=answer())
    )


async def _claim(session: AsyncSession, call: Call, now: int) -> bool:
    values = {
        "project_id": call.project_id,
        "user_id": call.user_id,
        "key": call.key,
        "digest": call.digest,
        "answer": {},
        "created_at": now,
    }
    # Two constructs for one statement; PostgreSQL waits in it for whoever has the key.
    if session.get_bind().dialect.name == "sqlite":
        done = await session.execute(
            sqlite.insert(IdempotentCall).values(values).on_conflict_do_nothing()
        )
    else:
        done = await session.execute(
            postgresql.insert(IdempotentCall).values(values).on_conflict_do_nothing()
        )
    assert isinstance(done, CursorResult)
    return done.rowcount == 1


async def forget_answers(session: AsyncSession, now: int) -> None:
    """Delete the answers that no repeated call gets any more."""
    await session.execute(
        delete(IdempotentCall).where(IdempotentCall.created_at <= now - MEMORY_MS)
    )
