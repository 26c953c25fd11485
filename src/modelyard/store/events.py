"""Events of services and of models: one kind of row, one kind of question (services.md §9.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from modelyard.store.paging import Page
from modelyard.store.tables.model import ModelEvent
from modelyard.store.tables.service import Event

Row = TypeVar("Row", Event, ModelEvent)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """None: no restriction. Times in ms since 1970, inclusive; ``event_info`` matches in part."""

    event_type: str | None = None
    event_info: str | None = None
    start_time: int | None = None
    end_time: int | None = None


async def list_service_events(
    session: AsyncSession, service_id: str, wanted: EventFilter, page: Page
) -> tuple[int, Sequence[Event]]:
    """How many events of the service match, and those of the page."""
    return await _list(session, Event, Event.service_id, service_id, wanted, page)


async def list_model_events(
    session: AsyncSession, model_id: str, wanted: EventFilter, page: Page
) -> tuple[int, Sequence[ModelEvent]]:
    """How many events of the model match, and those of the page."""
    return await _list(session, ModelEvent, ModelEvent.model_id, model_id, wanted, page)


async def _list(
    session: AsyncSession,
    table: type[Row],
    owner: InstrumentedAttribute[str],
    owner_id: str,
    wanted: EventFilter,
    page: Page,
) -> tuple[int, Sequence[Row]]:
    query = select(table).where(owner == owner_id)
    if wanted.event_type:
        query = query.where(table.event_type == wanted.event_type)
    if wanted.event_info:
        query = query.where(table.event_info.icontains(wanted.event_info, autoescape=True))
    if wanted.start_time is not None:
        query = query.where(table.occur_time >= wanted.start_time)
    if wanted.end_time is not None:
        query = query.where(table.occur_time <= wanted.end_time)
    total = await session.scalar(select(func.count()).select_from(query.subquery()))
    # Events of one millisecond keep the order in which they were told.
    keys = (table.occur_time, table.id)
    order = [key.desc() if page.descending else key.asc() for key in keys]
    rows = await session.scalars(query.order_by(*order).offset(page.offset).limit(page.limit))
    return total or 0, rows.all()
