"""``from model_service.tfserving_model_service import TfServingBaseService`` (models.md §4.1)."""

from modelyard_instance.inference.base_services import TfServingBaseService

__all__ = ["TfServingBaseService"]
