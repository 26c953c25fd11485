"""Tags of services (resources.md §7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.admission.tags import Tag
from modelyard.store.tables.service import Service, ServiceTag


async def tags_of(session: AsyncSession, service_id: str) -> dict[str, str]:
    """The service's tags, by key."""
    rows = await session.scalars(
        select(ServiceTag).where(ServiceTag.service_id == service_id).order_by(ServiceTag.key)
    )
    return {row.key: row.value for row in rows}


async def replace_tags(session: AsyncSession, service_id: str, tags: Mapping[str, str]) -> None:
    """Make ``tags`` the service's only ones."""
    await session.execute(delete(ServiceTag).where(ServiceTag.service_id == service_id))
    for key, value in tags.items():
        session.add(ServiceTag(service_id=service_id, key=key, value=value))
    await session.flush()


def tagged(readings: Sequence[Tag]) -> ColumnElement[bool]:
    """A service has a tag that one of ``readings`` names."""
    named = or_(
        *(
            ServiceTag.key == tag.key
            if tag.value is None
            else and_(ServiceTag.key == tag.key, ServiceTag.value == tag.value)
            for tag in readings
        )
    )
    return exists().where(ServiceTag.service_id == Service.id, named)
