"""Writing what no revision holds of a service: its name, owner, description, schedule…"""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.admission.requests import ServiceCreate, ServiceUpdate
from modelyard.domain.rollout.state import Desired
from modelyard.domain.service.config import Schedule
from modelyard.domain.service.lifecycle import Status
from modelyard.store.service.desired import due_time, write_desired
from modelyard.store.tables.service import Service


def new_service(
    service_id: str,
    project_id: str,
    owner: str,
    tenant: str,
    request: ServiceCreate,
    desired: Desired,
) -> Service:
    """Return the row of a service that is being deployed.

    ``owner``: a user's id, ``tenant``: of the user's domain. It is created when ``desired`` says.
    """
    now = desired.since
    service = Service(
        id=service_id,
        project_id=project_id,
        name=request.name,
        description=request.description,
        infer_type=request.infer_type,
        workspace_id=request.workspace_id,
        cluster_id=request.cluster_id,
        pool_name=request.pool_name,
        priority=request.priority,
        secrets=[secret.to_json() for secret in request.secrets],
        owner=owner,
        tenant=tenant,
        additional_properties=request.additional_properties,
        status=Status.DEPLOYING.value,
        publish_at=now,
        transition_at=now,
        operation_time=now,
        update_time=now,
    )
    write_desired(service, desired)
    set_schedule(service, desired, request.schedule, now)
    return service


async def add_service(session: AsyncSession, service: Service) -> bool:
    """Add a new row; False when the project has a service of that name by now."""
    session.add(service)
    try:
        await session.flush()
    except IntegrityError:
        return False
    return True


def describe_service(service: Service, update: ServiceUpdate) -> None:
    """Write what ``update`` says of the service itself; None leaves a column alone."""
    if update.description is not None:
        service.description = update.description
    if update.additional_properties is not None:
        service.additional_properties = update.additional_properties
    if update.priority is not None:
        service.priority = update.priority
    if update.secrets is not None:
        service.secrets = [secret.to_json() for secret in update.secrets]


def set_schedule(service: Service, desired: Desired, schedule: Schedule | None, now: int) -> None:
    """Set the auto-stop schedule, whose time begins at ``now`` (ms); None: there is none."""
    service.schedule = schedule.to_json() if schedule else None
    service.due_time = due_time(service, desired, now)
