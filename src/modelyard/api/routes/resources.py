"""What services can run on (resources.md §1, §2)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import QueryOf, answers
from modelyard.api.deps import may
from modelyard.api.paging import QueryDep
from modelyard.api.schemas import resources as contract
from modelyard.api.views.resources import cluster, flavor
from modelyard.control.changes.capacity import free, pools_of
from modelyard.domain.service.flavors import FLAVORS
from modelyard.domain.service.pools import STATES, Generation
from modelyard.iam.claims import Claims

router = APIRouter(prefix="/v1/{project_id}", tags=["resources"])


# Registered before /services/{service_id}, which would take it for an id.
@router.get(
    "/services/specifications",
    operation_id="ShowServiceSpecifications",
    responses=answers(contract.ShowServiceSpecificationsResponse),
)
async def list_specifications(
    query: Annotated[QueryDep, QueryOf(contract.ListSpecificationsQuery)],
    _claims: Annotated[Claims, Depends(may("modelarts:service:list"))],
) -> JSONResponse:
    """Deployment flavors (resources.md §1)."""
    page = query.page(("specification",), "specification")
    query.text("infer_type", ("real-time", "batch"))
    query.text("is_personal_cluster", ("true", "false", "True", "False"))
    query.check()
    found = [flavor(item, item.name) for item in FLAVORS]
    shown = found[page.offset : page.offset + page.limit]
    return JSONResponse({"total_count": len(found), "count": len(shown), "specifications": shown})


@router.get(
    "/clusters",
    operation_id="ListClusters",
    responses=answers(contract.ListClustersResponse),
)
async def list_clusters(
    query: Annotated[QueryDep, QueryOf(contract.ListClustersQuery)],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:pool:list"))],
) -> JSONResponse:
    """Old dedicated pools (resources.md §2), with what is left of each."""
    page = query.page(("created_at", "cluster_name"), "created_at")
    name = query.text("cluster_name") or ""
    status = query.text("status", STATES[Generation.V1])
    query.check()
    found = [
        pool
        for pool in pools_of(context.settings)
        if pool.ref.generation is Generation.V1
        and name.lower() in pool.name.lower()
        and status in (None, pool.state)
    ]
    found.sort(
        key=lambda pool: (
            pool.created_at if page.sort_by == "created_at" else 0,
            pool.name.lower(),
        ),
        reverse=page.descending,
    )
    shown = found[page.offset : page.offset + page.limit]
    async with context.database.read() as session:
        left = await free(session, context.settings) if shown else {}
    clusters = [cluster(pool, left[pool.ref], claims) for pool in shown]
    return JSONResponse({"total_count": len(found), "count": len(clusters), "clusters": clusters})
