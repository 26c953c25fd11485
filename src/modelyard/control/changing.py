"""Writing down a change that was judged (services.md §3, §8)."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control.accepted import Accepted
from modelyard.control.capacity import judge_capacity
from modelyard.control.configuring import configure, start
from modelyard.control.describing import describe
from modelyard.control.judging import Author, Judged
from modelyard.control.quotas import judge_quotas
from modelyard.control.stopping import begin_stop
from modelyard.domain.lifecycle import Status
from modelyard.domain.observed import Wanted
from modelyard.settings import Settings


async def change_service(
    session: AsyncSession, settings: Settings, judged: Judged, author: Author, now: int
) -> Accepted:
    """Everything that ``judged`` asks for.

    Raises ``InvalidRequest`` when it takes more than a quota or a pool has.
    """
    service, wish, new = judged.service, judged.wish, judged.new
    describe(session, service, wish, now)
    at = None
    # A stop comes first: what is configured beside it is for the next start.
    if wish.status == "stopped" and service.status != Status.STOPPED.value:
        await begin_stop(session, service, now, Wanted.STOPPED, "stopping service")
    if new is not None:
        at = await configure(session, service, new, author.user_id, now)
    if wish.status == "running" and service.status != Status.RUNNING.value:
        start(session, service, now, judged.retry_of)
    if wish.configures or wish.status == "running":
        await session.flush()
        await judge_quotas(session, settings, author.project_id)
        await judge_capacity(session, settings, service, new)
    if new is None:
        return Accepted(service.id, service.generation)
    number = service.desired_revision
    deploys = tuple(version.fingerprint for version in new.config)
    return Accepted(service.id, service.generation, at, number, deploys)
