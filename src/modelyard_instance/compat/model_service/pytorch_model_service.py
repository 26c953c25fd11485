"""``from model_service.pytorch_model_service import PTServingBaseService`` (models.md §4.1)."""

from modelyard_instance.inference.base_services import PTServingBaseService

__all__ = ["PTServingBaseService"]
