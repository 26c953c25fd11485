"""Every router of the API, the fixed paths before those that would swallow them."""

from __future__ import annotations

from fastapi import APIRouter

from modelyard.api.routes import (
    batch,
    discovery,
    iam,
    iam_admin,
    models,
    nodes,
    resources,
    revisions,
    service_changes,
    services,
    tags,
)


def all_routers() -> list[APIRouter]:
    """In the order of registration."""
    return [
        discovery.router,
        iam.router,
        iam_admin.router,
        models.router,
        resources.router,
        services.router,
        service_changes.router,
        tags.router,
        nodes.router,
        revisions.router,
        batch.router,
    ]
