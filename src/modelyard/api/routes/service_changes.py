"""Calls that change services (services.md §3, §4)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from modelyard.api.body import JsonBody
from modelyard.api.conditions import ChangeDep, DeleteConditionsDep, author_of
from modelyard.api.context import ContextDep
from modelyard.api.deps import may
from modelyard.control.changes.admission import ChangeKind, ChangeRequest
from modelyard.iam.claims import Claims

router = APIRouter(prefix="/v1/{project_id}/services", tags=["services"])

Json = dict[str, Any]
ServiceId = Annotated[str, Path()]
UpdaterDep = Annotated[Claims, Depends(may("modelarts:service:update"))]


@router.put("/{service_id}")
async def update_service(
    service_id: ServiceId, claims: UpdaterDep, body: JsonBody, change: ChangeDep
) -> Json:
    """Change, start or stop a service."""
    return await change.carry_out(claims, service_id, ChangeRequest(ChangeKind.UPDATE, body))


@router.patch("/{service_id}")
async def patch_service(
    service_id: ServiceId, claims: UpdaterDep, body: JsonBody, change: ChangeDep
) -> Json:
    """Replace single values of the configuration, named by JSON pointers below ``/config/``.

    The configuration is the one that was accepted last, in the order in which Show lists it.
    """
    return await change.carry_out(claims, service_id, ChangeRequest(ChangeKind.PATCH, body))


@router.put("/{service_id}/property")
async def update_property(
    service_id: ServiceId, claims: UpdaterDep, body: JsonBody, change: ChangeDep
) -> Json:
    """Change instance counts of a service that runs."""
    return await change.carry_out(claims, service_id, ChangeRequest(ChangeKind.PROPERTY, body))


@router.delete("/{service_id}")
async def delete_services(
    service_id: ServiceId,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:delete"))],
    conditions: DeleteConditionsDep,
) -> Json:
    """One service, or several by a comma-separated list: all or none (services.md §4)."""
    ids = [part.strip() for part in service_id.split(",") if part.strip()]
    await context.wishes.delete(author_of(claims), ids, conditions)
    for one in ids:
        context.hint(one)
    return {}
