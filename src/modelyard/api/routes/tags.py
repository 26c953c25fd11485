"""Tags of services (resources.md §7)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from modelyard.api.body import JsonBody
from modelyard.api.conditions import author_of
from modelyard.api.context import ContextDep
from modelyard.api.deps import may
from modelyard.domain.admission.tags import Tag, read_tags
from modelyard.errors import refuse
from modelyard.iam.claims import Claims

router = APIRouter(prefix="/v1/{project_id}/services/{service_id}/tags", tags=["services"])

ServiceId = Annotated[str, Path()]
TaggerDep = Annotated[Claims, Depends(may("modelarts:service:update"))]


@router.post("/create", status_code=204)
async def create_tags(
    service_id: ServiceId, context: ContextDep, claims: TaggerDep, body: JsonBody
) -> Response:
    """Set tags; one of the same key is overwritten."""
    put = {tag.key: tag.value or "" for tag in _read(body)}
    await context.wishes.change_tags(author_of(claims), service_id, put)
    return Response(status_code=204)


@router.delete("/delete", status_code=204)
async def delete_tags(
    service_id: ServiceId, context: ContextDep, claims: TaggerDep, body: JsonBody
) -> Response:
    """Remove tags by key; where a value is sent, only if it is the tag's."""
    await context.wishes.change_tags(author_of(claims), service_id, {}, _read(body))
    return Response(status_code=204)


def _read(body: object) -> tuple[Tag, ...]:
    tags, problems = read_tags(body)
    if problems:
        raise refuse(problems)
    return tags
