"""Find how long instances took to become ready, to estimate how long others will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.store.tables.service import Instance

SAMPLES = 20
"""Starts that are looked at, the newest ones."""


async def start_durations(
    session: AsyncSession, model_ids: Collection[str]
) -> dict[str, tuple[int, ...]]:
    """Of each model its last starts in ms, from the row to readiness; of any service."""
    took = (Instance.ready_at - Instance.created_at).label("took")
    newest = func.row_number().over(
        partition_by=Instance.model_id, order_by=Instance.created_at.desc()
    )
    ranked = (
        select(Instance.model_id, took, newest.label("rank"))
        .where(Instance.model_id.in_(model_ids), Instance.ready_at.is_not(None))
        .subquery()
    )
    found: dict[str, list[int]] = defaultdict(list)
    statement = select(ranked.c.model_id, ranked.c.took).where(ranked.c.rank <= SAMPLES)
    for model_id, ms in await session.execute(statement):
        found[model_id].append(ms)
    return {model_id: tuple(times) for model_id, times in found.items()}


async def any_start_durations(session: AsyncSession) -> tuple[int, ...]:
    """The last starts of all models in ms."""
    statement = (
        select(Instance.ready_at - Instance.created_at)
        .where(Instance.ready_at.is_not(None))
        .order_by(Instance.created_at.desc())
        .limit(SAMPLES)
    )
    return tuple(ms for ms in await session.scalars(statement) if ms is not None)
