"""``from model_service.model_service import SingleNodeService`` (models.md §4.1)."""

from modelyard_instance.services import SingleNodeService

__all__ = ["SingleNodeService"]
