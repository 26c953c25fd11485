"""``from model_service.python_model_service import XgSklServingBaseService`` (models.md §4.1)."""

from modelyard_instance.inference.base_services import XgSklServingBaseService

__all__ = ["XgSklServingBaseService"]
