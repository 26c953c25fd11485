"""``from model_service.model_service import SingleNodeService`` (models.md §4.1)."""

from modelyard_instance.inference.base_services import SingleNodeService

__all__ = ["SingleNodeService"]
