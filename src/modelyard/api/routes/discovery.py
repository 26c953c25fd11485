"""Version documents that Keystone clients ask for before anything else."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import open_answers
from modelyard.api.schemas.resources import ListApiVersionsResponse, ShowApiVersionResponse
from modelyard.api.views.iam import Document

router = APIRouter(tags=["discovery"])


def _version(id_: str, href: str, status: str) -> Document:
    return {
        "id": id_,
        "status": status,
        "updated": "2026-01-01T00:00:00Z",
        "links": [{"rel": "self", "href": href}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        ]
        if id_.startswith("v3")
        else [],
    }


@router.get("/", operation_id="ListApiVersions", responses=open_answers(ListApiVersionsResponse))
def versions(context: ContextDep) -> JSONResponse:
    """What is spoken here; also shows that the platform answers."""
    address = context.settings.gateway.public_address
    return JSONResponse({"versions": {"values": [_version("v3.14", f"{address}/v3/", "stable")]}})


@router.get(
    "/v3", operation_id="ShowIdentityVersion", responses=open_answers(ShowApiVersionResponse)
)
@router.get("/v3/", include_in_schema=False)
def identity_version(context: ContextDep) -> JSONResponse:
    """The identity API's version document."""
    version = _version("v3.14", f"{context.settings.gateway.public_address}/v3/", "stable")
    return JSONResponse({"version": version})


def _service_version(context: ContextDep, version: str, project_id: str | None) -> JSONResponse:
    tail = f"/{project_id}" if project_id else ""
    url = f"{context.settings.gateway.public_address}/{version}{tail}"
    return JSONResponse({"version": _version(version, url, "CURRENT")})


@router.get("/v1", operation_id="ShowServiceApiV1", responses=open_answers(ShowApiVersionResponse))
@router.get("/v1/", include_in_schema=False)
def service_v1(context: ContextDep) -> JSONResponse:
    """Version document of the service API."""
    return _service_version(context, "v1", None)


@router.get("/v2", operation_id="ShowServiceApiV2", responses=open_answers(ShowApiVersionResponse))
@router.get("/v2/", include_in_schema=False)
def service_v2(context: ContextDep) -> JSONResponse:
    """Version document of the second service API."""
    return _service_version(context, "v2", None)


@router.get(
    "/v1/{project_id}",
    operation_id="ShowProjectApiV1",
    responses=open_answers(ShowApiVersionResponse),
)
@router.get("/v1/{project_id}/", include_in_schema=False)
def project_v1(context: ContextDep, project_id: str) -> JSONResponse:
    """The version document at the address of a catalogue entry; it does not look at the project."""
    return _service_version(context, "v1", project_id)


@router.get(
    "/v2/{project_id}",
    operation_id="ShowProjectApiV2",
    responses=open_answers(ShowApiVersionResponse),
)
@router.get("/v2/{project_id}/", include_in_schema=False)
def project_v2(context: ContextDep, project_id: str) -> JSONResponse:
    """The version document at the address of a catalogue entry; it does not look at the project."""
    return _service_version(context, "v2", project_id)
