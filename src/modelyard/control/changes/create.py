"""Creating a service (services.md §2)."""

from __future__ import annotations

from modelyard.control.batch.runs import begin_run
from modelyard.control.changes.admission import Author
from modelyard.control.changes.capacity import check_capacity
from modelyard.control.changes.facts import gather_facts
from modelyard.control.changes.preconditions import Accepted
from modelyard.control.changes.quotas import check_quotas
from modelyard.control.changes.revisions import report_auto_stop
from modelyard.domain.admission.requests import ServiceCreate
from modelyard.domain.admission.service_body import read_create
from modelyard.domain.rollout.state import RevisionTarget
from modelyard.domain.rollout.transition import begin
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.slots import assign_slots
from modelyard.errors import Conflict, refuse
from modelyard.settings import Settings
from modelyard.store import events
from modelyard.store.database import Session, flush
from modelyard.store.service.description import add_service, new_service
from modelyard.store.service.services import NewRevision, add_revision, name_is_taken
from modelyard.store.tables.service import Service


async def create_service(
    session: Session,
    settings: Settings,
    author: Author,
    body: object,
    service_id: str,
    now: int,
) -> Accepted:
    """Create the service with its first revision. Raises ``InvalidRequest`` or ``Conflict``."""
    request = await admit_new(session, settings, author, body)
    config = assign_slots((), request.config)
    revision = NewRevision(config, request.policy, request.rollout)
    desired = begin(RevisionTarget.of(1, config, request.rollout), now)
    service = new_service(
        service_id, author.project_id, author.user_id, author.domain_id, request, desired
    )
    await _add(session, service)
    add_revision(session, service.id, 1, revision, author.user_id, now)
    if request.infer_type == BATCH:
        begin_run(session, service, now)
    events.record(session, service.id, "start to deploy service", now)
    report_auto_stop(session, service, now)
    await flush(session)
    await check_quotas(session, settings, author.project_id)
    await check_capacity(session, settings, service, revision)
    deploys = tuple(version.fingerprint for version in config)
    return Accepted(service.id, service.generation, now, 1, deploys)


async def admit_new(
    session: Session, settings: Settings, author: Author, body: object
) -> ServiceCreate:
    """Read what ``body`` asks for. Raises ``InvalidRequest`` with all problems."""
    facts = await gather_facts(session, settings, author.project_id, body)
    request, problems = read_create(body, facts)
    if request is None:
        raise refuse(problems)
    return request


async def _add(session: Session, service: Service) -> None:
    # Another call may take the name after we have looked.
    taken = await name_is_taken(session, service.project_id, service.name)
    if taken or not await add_service(session, service):
        raise Conflict(
            f"service_name: a service named {service.name!r} exists. Choose another name.",
            field="service_name",
        )
