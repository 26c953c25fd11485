"""Write and find calls with an ``Idempotency-Key``, and their first answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.store.tables.service import IdempotentCall

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallKey:
    """A key, which is its caller's own."""

    project_id: str
    user_id: str
    key: str

    def matches(self) -> tuple[ColumnElement[bool], ...]:
        """Return the condition of its row."""
        return (
            IdempotentCall.project_id == self.project_id,
            IdempotentCall.user_id == self.user_id,
            IdempotentCall.key == self.key,
        )


async def claim(session: AsyncSession, key: CallKey, digest: str, now: int) -> bool:
    """Write a call without an answer; False when the key is taken.

    Waits while another transaction claims it.
    """
    values = {
        "project_id": key.project_id,
        "user_id": key.user_id,
        "key": key.key,
        "digest": digest,
        "answer": {},
        "created_at": now,
    }
    # Two constructs for one statement; PostgreSQL waits in it for the holder of the key.
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


async def first_call(session: AsyncSession, key: CallKey) -> tuple[str, JsonObject]:
    """Find the digest and the answer of the call that has the key; there must be one."""
    row = (await session.scalars(select(IdempotentCall).where(*key.matches()))).one()
    return row.digest, row.answer


async def digest_since(session: AsyncSession, key: CallKey, since: int) -> str | None:
    """Find the digest of the call that claimed the key after ``since`` (ms)."""
    statement = select(IdempotentCall.digest).where(
        *key.matches(), IdempotentCall.created_at > since
    )
    return (await session.scalars(statement)).one_or_none()


async def write_answer(session: AsyncSession, key: CallKey, answer: JsonObject) -> None:
    """Write the answer of a claimed call."""
    await session.execute(update(IdempotentCall).where(*key.matches()).values(answer=answer))


async def forget_call(session: AsyncSession, key: CallKey, until: int) -> None:
    """Delete the call with this key, if it was made by ``until`` (ms)."""
    await session.execute(
        delete(IdempotentCall).where(*key.matches(), IdempotentCall.created_at <= until)
    )


async def forget_calls(session: AsyncSession, until: int) -> None:
    """Delete all calls that were made by ``until`` (ms)."""
    await session.execute(delete(IdempotentCall).where(IdempotentCall.created_at <= until))
