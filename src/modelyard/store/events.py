"""Write and find the events of services, and find those of models (services.md §9.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from modelyard.store.paging import Page
from modelyard.store.tables.model import ModelEvent
from modelyard.store.tables.service import Event

NORMAL, ABNORMAL = "normal", "abnormal"
"""Values of ``event_type``."""

Row = TypeVar("Row", Event, ModelEvent)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """None: no restriction. Times in ms since 1970, inclusive; ``event_info`` matches in part."""

    event_type: str | None = None
    event_info: str | None = None
    start_time: int | None = None
    end_time: int | None = None


def record(session: AsyncSession, service_id: str, info: str, now: int, kind: str = NORMAL) -> None:
    """Write an event of the service; ``kind`` is ``NORMAL`` or ``ABNORMAL``, ``now`` in ms."""
    session.add(Event(service_id=service_id, event_type=kind, event_info=info, occur_time=now))


async def is_recorded(session: AsyncSession, service_id: str, info: str) -> bool:
    """Whether the service has an event with exactly this sentence."""
    statement = select(Event.id).where(Event.service_id == service_id, Event.event_info == info)
    return await session.scalar(statement.limit(1)) is not None


async def forget_events(session: AsyncSession, before: int) -> None:
    """Delete the events of services from before ``before`` (ms)."""
    await session.execute(delete(Event).where(Event.occur_time < before))


async def list_service_events(
    session: AsyncSession, service_id: str, matching: EventFilter, page: Page
) -> tuple[int, Sequence[Event]]:
    """Count the service's events that match, and return those of the page."""
    return await _list(session, Event, Event.service_id, service_id, matching, page)


async def list_model_events(
    session: AsyncSession, model_id: str, matching: EventFilter, page: Page
) -> tuple[int, Sequence[ModelEvent]]:
    """Count the model's events that match, and return those of the page."""
    return await _list(session, ModelEvent, ModelEvent.model_id, model_id, matching, page)


async def _list(
    session: AsyncSession,
    table: type[Row],
    owner: InstrumentedAttribute[str],
    owner_id: str,
    matching: EventFilter,
    page: Page,
) -> tuple[int, Sequence[Row]]:
    query = select(table).where(owner == owner_id)
    if matching.event_type:
        query = query.where(table.event_type == matching.event_type)
    if matching.event_info:
        query = query.where(table.event_info.icontains(matching.event_info, autoescape=True))
    if matching.start_time is not None:
        query = query.where(table.occur_time >= matching.start_time)
    if matching.end_time is not None:
        query = query.where(table.occur_time <= matching.end_time)
    total = await session.scalar(select(func.count()).select_from(query.subquery()))
    # Events of one millisecond keep the order in which they were recorded.
    keys = (table.occur_time, table.id)
    order = [key.desc() if page.descending else key.asc() for key in keys]
    rows = await session.scalars(query.order_by(*order).offset(page.offset).limit(page.limit))
    return total or 0, rows.all()
