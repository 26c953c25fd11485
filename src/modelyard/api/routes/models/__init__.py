"""Calls on models (models.md §1); lists before single models, whose path would take theirs."""

from modelyard.api.routes.models import create, delete, list_models, show

ROUTERS = (create.router, list_models.router, show.router, delete.router)
