"""How much a project may have (services.md §2.2, §10: 3520, 3521, 3522). 0 means no limit."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.observed import Wanted
from modelyard.errors import InvalidRequest
from modelyard.settings import Settings
from modelyard.store.services import revision_config
from modelyard.store.tables.service import Service


async def judge_quotas(session: AsyncSession, settings: Settings, project_id: str) -> None:
    """Refuse what the session is about to write when it takes the project over a quota.

    To be called after the change and before the commit. Raises ``InvalidRequest``.
    """
    own = Service.project_id == project_id
    if settings.max_services:
        total = await session.scalar(select(func.count()).select_from(Service).where(own)) or 0
        _judge("services", total, settings.max_services, "MAX_SERVICES", "3520")
    if not (settings.max_running_services or settings.max_instances):
        return
    running = list(
        await session.scalars(select(Service).where(own, Service.wanted == Wanted.RUNNING.value))
    )
    limit = settings.max_running_services
    _judge("running services", len(running), limit, "MAX_RUNNING_SERVICES", "3521")
    if settings.max_instances:
        configs = [await revision_config(session, s.id, s.desired_revision) for s in running]
        instances = sum(version.instance_count for config in configs for version in config)
        _judge("instances", instances, settings.max_instances, "MAX_INSTANCES", "3522")


def _judge(what: str, found: int, limit: int, setting: str, code: str) -> None:
    if limit and found > limit:
        raise InvalidRequest(
            f"quota: the project would have {found} {what}, and may have {limit}. Stop or delete "
            f"some, or ask the operator to raise MODELYARD_{setting}.",
            code=code,
            field="quota",
        )
