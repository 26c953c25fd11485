"""Calls on services (services.md §1)."""

from modelyard.api.routes.services import (
    changes,
    list_services,
    nodes,
    past,
    records,
    revisions,
    runs,
    show,
    tags,
)

ROUTERS = (
    list_services.router,
    show.router,
    records.router,
    changes.router,
    tags.router,
    nodes.router,
    revisions.router,
    past.router,
    runs.router,
)
