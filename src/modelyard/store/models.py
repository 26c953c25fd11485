"""Write and find models and their events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.store.paging import Page
from modelyard.store.tables.model import Model, ModelEvent

PUBLISHING = "publishing"
PUBLISHED = "published"
FAILED = "failed"
BUILDING = "building"
BUILDING_FAILED = "building_failed"
STATUSES = (PUBLISHING, PUBLISHED, FAILED, BUILDING, BUILDING_FAILED)
"""Every documented status (models.md §1.2)."""
UNFINISHED = (PUBLISHING, BUILDING)
"""Those of a model that is being imported."""

SORT_COLUMNS = {
    "create_at": Model.created_at,
    "model_version": Model.version_order,
    "model_size": Model.size,
}

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class ModelFilter:
    """What a list asks for (models.md §1.3); None: no restriction. Times in ms since 1970."""

    name: str | None = None
    exact_match: bool = False
    version: str | None = None
    status: str | None = None
    description: str | None = None
    workspace_id: str | None = None
    model_type: str | None = None
    not_model_type: str | None = None


async def find_model(
    session: AsyncSession, project_id: str, model_id: str, *, lock: bool = False
) -> Model | None:
    """Find the project's model of that id; ``lock`` keeps it until the transaction ends."""
    return (await find_models(session, project_id, [model_id], lock=lock)).get(model_id)


async def find_models(
    session: AsyncSession, project_id: str, ids: Iterable[str], *, lock: bool = False
) -> dict[str, Model]:
    """Those of the project's models that exist, by id."""
    # Anything may stand in a path; only what can be an id is looked up.
    known = {id_ for id_ in ids if _UUID.fullmatch(id_)}
    if not known:
        return {}
    query = select(Model).where(Model.project_id == project_id, Model.id.in_(known))
    if lock:
        query = query.order_by(Model.id).with_for_update()
    return {model.id: model for model in await session.scalars(query)}


async def version_exists(session: AsyncSession, project_id: str, name: str, version: str) -> bool:
    query = select(Model.id).where(
        Model.project_id == project_id, Model.name == name, Model.version == version
    )
    return (await session.scalars(query)).first() is not None


async def versions_of(
    session: AsyncSession, project_id: str, name: str, limit: int
) -> Sequence[Model]:
    """The first ``limit`` versions of a name, oldest version first."""
    query = (
        select(Model)
        .where(Model.project_id == project_id, Model.name == name)
        .order_by(Model.version_order)
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def list_models(
    session: AsyncSession, project_id: str, matching: ModelFilter, page: Page
) -> tuple[int, Sequence[Model]]:
    """How many models match, and those of the page."""
    query = _filtered(select(Model).where(Model.project_id == project_id), matching)
    total = await session.scalar(select(func.count()).select_from(query.subquery()))
    column = SORT_COLUMNS[page.sort_by]
    order = column.desc() if page.descending else column.asc()
    rows = await session.scalars(
        query.order_by(order, Model.id).offset(page.offset).limit(page.limit)
    )
    return total or 0, rows.all()


async def all_ids(session: AsyncSession) -> set[str]:
    """The ids of all models of all projects."""
    return set(await session.scalars(select(Model.id)))


async def environments_in_use(session: AsyncSession) -> set[str]:
    """The digests of the environments that any model runs in."""
    query = select(Model.environment).where(Model.environment != "").distinct()
    return set(await session.scalars(query))


async def in_own_environments(session: AsyncSession) -> Sequence[Model]:
    """The published models that do not run in the platform's own environment, oldest first."""
    query = select(Model).where(Model.status == PUBLISHED, Model.environment != "")
    return (await session.scalars(query.order_by(Model.created_at))).all()


async def unfinished_ids(session: AsyncSession) -> Sequence[str]:
    """Find the models of all projects that are being imported, oldest first."""
    query = select(Model.id).where(Model.status.in_(UNFINISHED)).order_by(Model.created_at)
    return (await session.scalars(query)).all()


def add_event(
    session: AsyncSession, model_id: str, at_ms: int, text: str, *, abnormal: bool = False
) -> None:
    """Write an event of a model."""
    kind = "abnormal" if abnormal else "normal"
    session.add(ModelEvent(model_id=model_id, event_type=kind, event_info=text, occur_time=at_ms))


async def latest_event(session: AsyncSession, model_id: str) -> str | None:
    """The text of the newest event of a model."""
    query = select(ModelEvent.event_info).where(ModelEvent.model_id == model_id)
    return (await session.scalars(query.order_by(ModelEvent.id.desc()).limit(1))).first()


def _filtered(query: Select[tuple[Model]], matching: ModelFilter) -> Select[tuple[Model]]:
    exact = {
        Model.version: matching.version,
        Model.status: matching.status,
        Model.workspace_id: matching.workspace_id,
        Model.model_type: matching.model_type,
    }
    for column, value in exact.items():
        if value is not None:
            query = query.where(column == value)
    if matching.not_model_type is not None:
        query = query.where(Model.model_type != matching.not_model_type)
    if matching.name:
        query = query.where(
            Model.name == matching.name
            if matching.exact_match
            else Model.name.icontains(matching.name, autoescape=True)
        )
    if matching.description:
        query = query.where(Model.description.icontains(matching.description, autoescape=True))
    return query
