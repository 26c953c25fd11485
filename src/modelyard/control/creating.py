"""Writing down a new service (services.md §2)."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import journal
from modelyard.control.accepted import Accepted
from modelyard.control.batch_runs import begin_run
from modelyard.control.capacity import judge_capacity
from modelyard.control.describing import tell_auto_stop
from modelyard.control.facts import gather_facts
from modelyard.control.judging import Author
from modelyard.control.quotas import judge_quotas
from modelyard.domain.batch_config import BATCH
from modelyard.domain.lifecycle import Status
from modelyard.domain.observed import Wanted
from modelyard.domain.requests import ServiceCreate
from modelyard.domain.slots import assign_slots
from modelyard.domain.validation import read_create
from modelyard.errors import Conflict, refuse
from modelyard.settings import Settings
from modelyard.store import services as store
from modelyard.store.tables.service import Service


async def create_service(
    session: AsyncSession,
    settings: Settings,
    author: Author,
    body: object,
    service_id: str,
    now: int,
) -> Accepted:
    """The service with its first revision. Raises ``InvalidRequest`` or ``Conflict``."""
    wish = await judge_new(session, settings, author, body)
    service = _new_service(service_id, author, wish, now)
    await _add(session, service)
    config = assign_slots((), wish.config)
    revision = store.NewRevision(config, wish.policy, wish.rollout)
    store.add_revision(session, service.id, 1, revision, author.user_id, now)
    if wish.infer_type == BATCH:
        begin_run(session, service, now)
    journal.event(session, service.id, "start to deploy service", now)
    tell_auto_stop(session, service, now)
    await session.flush()
    await judge_quotas(session, settings, author.project_id)
    await judge_capacity(session, settings, service, revision)
    deploys = tuple(version.fingerprint for version in config)
    return Accepted(service.id, service.generation, now, 1, deploys)


async def judge_new(
    session: AsyncSession, settings: Settings, author: Author, body: object
) -> ServiceCreate:
    """What ``body`` asks for. Raises ``InvalidRequest`` with all problems."""
    facts = await gather_facts(session, settings, author.project_id, body)
    wish, problems = read_create(body, facts)
    if wish is None:
        raise refuse(problems)
    return wish


async def _add(session: AsyncSession, service: Service) -> None:
    taken = Conflict(
        f"service_name: a service named {service.name!r} exists. Choose another name.",
        field="service_name",
    )
    if await store.name_is_taken(session, service.project_id, service.name):
        raise taken
    session.add(service)
    try:
        await session.flush()
    except IntegrityError:  # Somebody else took the name since we looked.
        raise taken from None


def _new_service(service_id: str, author: Author, wish: ServiceCreate, now: int) -> Service:
    return Service(
        id=service_id,
        project_id=author.project_id,
        name=wish.name,
        description=wish.description,
        infer_type=wish.infer_type,
        workspace_id=wish.workspace_id,
        cluster_id=wish.cluster_id,
        pool_name=wish.pool_name,
        priority=wish.priority,
        secrets=[secret.to_json() for secret in wish.secrets],
        owner=author.user_id,
        tenant=author.domain_id,
        additional_properties=wish.additional_properties,
        schedule=wish.schedule.to_json() if wish.schedule else None,
        due_time=now + wish.schedule.length_ms if wish.schedule else None,
        wanted=Wanted.RUNNING.value,
        desired_revision=1,
        wished_at=now,
        generation=1,
        status=Status.DEPLOYING.value,
        publish_at=now,
        transition_at=now,
        operation_time=now,
        update_time=now,
    )
