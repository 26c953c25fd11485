"""Version documents that Keystone clients ask for before anything else."""

from __future__ import annotations

from fastapi import APIRouter

from modelyard.api.context import ContextDep
from modelyard.api.schemas.iam import Document

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


@router.get("/")
def versions(context: ContextDep) -> Document:
    """What is spoken here; also how one sees that the platform answers."""
    address = context.settings.gateway.public_address
    return {"versions": {"values": [_version("v3.14", f"{address}/v3/", "stable")]}}


@router.get("/v3")
@router.get("/v3/", include_in_schema=False)
def identity_version(context: ContextDep) -> Document:
    """The identity API's version document."""
    return {
        "version": _version("v3.14", f"{context.settings.gateway.public_address}/v3/", "stable")
    }


def _service_version(context: ContextDep, version: str, project_id: str | None) -> Document:
    tail = f"/{project_id}" if project_id else ""
    url = f"{context.settings.gateway.public_address}/{version}{tail}"
    return {"version": _version(version, url, "CURRENT")}


@router.get("/v1")
@router.get("/v1/", include_in_schema=False)
def service_v1(context: ContextDep) -> Document:
    """Version document of the service API."""
    return _service_version(context, "v1", None)


@router.get("/v2")
@router.get("/v2/", include_in_schema=False)
def service_v2(context: ContextDep) -> Document:
    """Version document of the second service API."""
    return _service_version(context, "v2", None)


@router.get("/v1/{project_id}")
@router.get("/v1/{project_id}/", include_in_schema=False)
def project_v1(context: ContextDep, project_id: str) -> Document:
    """The same at a catalogue entry's address; says nothing about the project."""
    return _service_version(context, "v1", project_id)


@router.get("/v2/{project_id}")
@router.get("/v2/{project_id}/", include_in_schema=False)
def project_v2(context: ContextDep, project_id: str) -> Document:
    """The same at a catalogue entry's address; says nothing about the project."""
    return _service_version(context, "v2", project_id)
