"""Every router of the API, the fixed paths before those that would swallow them."""

from __future__ import annotations

from fastapi import APIRouter

from modelyard.api.routes import discovery, iam, models, resources, services


def all_routers() -> list[APIRouter]:
    """In the order of registration."""
    return [
        discovery.router,
        *iam.ROUTERS,
        *models.ROUTERS,
        resources.router,
        *services.ROUTERS,
    ]
