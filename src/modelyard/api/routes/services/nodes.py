"""Edge nodes of a service (services.md §4, §11)."""

from __future__ import annotations

from typing import Annotated, NoReturn

from fastapi import APIRouter, Depends, Path

from modelyard.api.body import JsonBody
from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import BodyOf, answers
from modelyard.api.deps import may
from modelyard.api.routes.services.lookup import ServiceId, find
from modelyard.api.schemas.service_requests import UpdateEdgeNodeStatusRequest
from modelyard.domain.body_reader import Fields, Problems
from modelyard.errors import InvalidRequest, refuse
from modelyard.iam.claims import Claims

router = APIRouter(prefix="/v1/{project_id}/services/{service_id}/nodes", tags=["services"])


@router.put(
    "/{node_id}/status",
    operation_id="UpdateEdgeNodeStatus",
    # No service has nodes here, so that it never succeeds.
    status_code=400,
    response_model=None,
    responses=answers(None, 404, 413, status=400),
)
async def change_node_status(
    service_id: ServiceId,
    node_id: Annotated[str, Path()],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:nodeservice:action"))],
    body: Annotated[JsonBody, BodyOf(UpdateEdgeNodeStatusRequest)],
) -> NoReturn:
    """Start or stop the instance on one node of an edge service; no other kind has nodes."""
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
    problems = Problems()
    if isinstance(body, dict):
        fields = Fields(body, "", problems)
        fields.only(("status",), "Send status.")
        choices = ("running", "stopped")
        fields.text("status", required=True, choices=choices, remedy="Send running or stopped.")
    else:
        problems.invalid("body", "is not a JSON object", "Send status.", "4105")
    if problems.found:
        raise refuse(problems.found)
    raise InvalidRequest(
        f"node_id: {service.name!r} is a {service.infer_type} service and has no node "
        f"{node_id[:64]!r}; only edge services have nodes. To start or stop the service, send "
        f"PUT /v1/{service.project_id}/services/{service.id} with status.",
        code="3518",
        field="node_id",
    )
