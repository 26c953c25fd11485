"""The service catalogue inside a token: where Keystone clients find things (services.md §14)."""

from __future__ import annotations

import hashlib
from typing import TypedDict


class Endpoint(TypedDict):
    id: str
    interface: str
    region: str
    region_id: str
    url: str


class Service(TypedDict):
    id: str
    name: str
    type: str
    endpoints: list[Endpoint]


def catalogue(address: str, region: str, project_id: str | None) -> list[Service]:
    """Every service a token of that project may call; only ``identity`` without a project."""
    services = [_service("identity", f"{address}/v3", region)]
    if project_id is not None:
        v1, v2 = (f"{address}/{version}/{project_id}" for version in ("v1", "v2"))
        services += [
            _service("modelarts", v1, region),
            _service("modelartsv1", v1, region),
            _service("modelartsv2", v2, region),
        ]
    return services


def _service(kind: str, url: str, region: str) -> Service:
    endpoint: Endpoint = {
        "id": _stable_id("endpoint", kind, region),
        "interface": "public",
        "region": region,
        "region_id": region,
        "url": url,
    }
    return {
        "id": _stable_id("service", kind),
        "name": kind,
        "type": kind,
        "endpoints": [endpoint],
    }


def _stable_id(*parts: str) -> str:
    return hashlib.sha256(":".join(parts).encode()).hexdigest()[:32]
