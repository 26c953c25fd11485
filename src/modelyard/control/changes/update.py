"""Writing down a change that was judged (services.md §3, §8)."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control.changes.accepted import Accepted
from modelyard.control.changes.admission import AdmittedChange, Author
from modelyard.control.changes.capacity import check_capacity
from modelyard.control.changes.description import describe
from modelyard.control.changes.quotas import check_quotas
from modelyard.control.changes.revisions import configure, start
from modelyard.control.changes.stop import begin_stop
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.lifecycle import Status
from modelyard.settings import Settings


async def change_service(
    session: AsyncSession, settings: Settings, judged: AdmittedChange, author: Author, now: int
) -> Accepted:
    """Everything that ``judged`` asks for.

    Raises ``InvalidRequest`` when it takes more than a quota or a pool has.
    """
    service, wish, new = judged.service, judged.wish, judged.new
    describe(session, service, wish, now)
    at = None
    # A stop comes first: what is configured beside it is for the next start.
    if wish.status == "stopped" and service.status != Status.STOPPED.value:
        await begin_stop(session, service, now, DesiredStatus.STOPPED, "stopping service")
    if new is not None:
        at = await configure(session, service, new, author.user_id, now)
    if wish.status == "running" and service.status != Status.RUNNING.value:
        start(session, service, now, judged.retry_of)
    if wish.configures or wish.status == "running":
        await session.flush()
        await check_quotas(session, settings, author.project_id)
        await check_capacity(session, settings, service, new)
    if new is None:
        return Accepted(service.id, service.generation)
    number = service.desired_revision
    deploys = tuple(version.fingerprint for version in new.config)
    return Accepted(service.id, service.generation, at, number, deploys)
