"""Tags of services (resources.md §7)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from modelyard.api.body import JsonBody
from modelyard.api.conditions import author_of
from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import BodyOf, answers
from modelyard.api.deps import may
from modelyard.api.routes.services.lookup import ServiceId
from modelyard.api.schemas.service_requests import (
    CreateServiceTagsRequest,
    DeleteServiceTagsRequest,
)
from modelyard.domain.admission.tags import Tag, read_tags
from modelyard.errors import refuse
from modelyard.iam.claims import Claims

router = APIRouter(prefix="/v1/{project_id}/services/{service_id}/tags", tags=["services"])

TaggerDep = Annotated[Claims, Depends(may("modelarts:service:update"))]


@router.post(
    "/create",
    status_code=204,
    operation_id="CreateServiceTags",
    responses=answers(None, 404, 413, status=204),
)
async def create_tags(
    service_id: ServiceId,
    context: ContextDep,
    claims: TaggerDep,
    body: Annotated[JsonBody, BodyOf(CreateServiceTagsRequest)],
) -> Response:
    """Set tags; one of the same key is overwritten."""
    put = {tag.key: tag.value or "" for tag in _read(body)}
    await context.changes.change_tags(author_of(claims), service_id, put)
    return Response(status_code=204)


@router.delete(
    "/delete",
    status_code=204,
    operation_id="DeleteServiceTags",
    responses=answers(None, 404, 413, status=204),
)
async def delete_tags(
    service_id: ServiceId,
    context: ContextDep,
    claims: TaggerDep,
    body: Annotated[JsonBody, BodyOf(DeleteServiceTagsRequest)],
) -> Response:
    """Remove tags by key; where a value is sent, only if it is the tag's."""
    await context.changes.change_tags(author_of(claims), service_id, {}, _read(body))
    return Response(status_code=204)


def _read(body: object) -> tuple[Tag, ...]:
    tags, problems = read_tags(body)
    if problems:
        raise refuse(problems)
    return tags
