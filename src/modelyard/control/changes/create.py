"""Writing down a new service (services.md §2)."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import events
from modelyard.control.batch.runs import begin_run
from modelyard.control.changes.accepted import Accepted
from modelyard.control.changes.admission import Author
from modelyard.control.changes.capacity import check_capacity
from modelyard.control.changes.description import tell_auto_stop
from modelyard.control.changes.facts import gather_facts
from modelyard.control.changes.quotas import check_quotas
from modelyard.domain.admission.requests import ServiceCreate
from modelyard.domain.admission.service_body import read_create
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.lifecycle import Status
from modelyard.domain.service.slots import assign_slots
from modelyard.errors import Conflict, refuse
from modelyard.settings import Settings
from modelyard.store.service import services as store
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
    wish = await admit_new(session, settings, author, body)
    service = _new_service(service_id, author, wish, now)
    await _add(session, service)
    config = assign_slots((), wish.config)
    revision = store.NewRevision(config, wish.policy, wish.rollout)
    store.add_revision(session, service.id, 1, revision, author.user_id, now)
    if wish.infer_type == BATCH:
        begin_run(session, service, now)
    events.event(session, service.id, "start to deploy service", now)
    tell_auto_stop(session, service, now)
    await session.flush()
    await check_quotas(session, settings, author.project_id)
    await check_capacity(session, settings, service, revision)
    deploys = tuple(version.fingerprint for version in config)
    return Accepted(service.id, service.generation, now, 1, deploys)


async def admit_new(
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
        wanted=DesiredStatus.RUNNING.value,
        desired_revision=1,
        wished_at=now,
        generation=1,
        status=Status.DEPLOYING.value,
        publish_at=now,
        transition_at=now,
        operation_time=now,
        update_time=now,
    )
