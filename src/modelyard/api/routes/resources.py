"""What services can run on (resources.md §1, §2)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from modelyard.api.deps import may
from modelyard.api.paging import Query
from modelyard.api.schemas.resources import flavor
from modelyard.domain.flavors import FLAVORS
from modelyard.iam.claims import Claims

router = APIRouter(prefix="/v1/{project_id}", tags=["resources"])


# Registered before /services/{service_id}, which would take it for an id.
@router.get("/services/specifications")
async def list_specifications(
    request: Request, _claims: Annotated[Claims, Depends(may("modelarts:service:list"))]
) -> dict[str, Any]:
    query = Query(request)
    page = query.page(("specification",), "specification")
    query.text("infer_type", ("real-time", "batch"))
    query.text("is_personal_cluster", ("true", "false", "True", "False"))
    query.check()
    found = [flavor(item, item.name) for item in FLAVORS]
    shown = found[page.offset : page.offset + page.limit]
    return {"total_count": len(found), "count": len(shown), "specifications": shown}


@router.get("/clusters")
async def list_clusters(
    request: Request, _claims: Annotated[Claims, Depends(may("modelarts:pool:list"))]
) -> dict[str, Any]:
    """Old dedicated pools: there are none yet."""
    query = Query(request)
    query.page(("created_at", "cluster_name"), "created_at")
    query.check()
    return {"total_count": 0, "count": 0, "clusters": []}
