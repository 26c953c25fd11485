"""``from model_service.caffe_model_service import CaffeBaseService`` (models.md §4.1)."""

from modelyard_instance.inference.base_services import CaffeBaseService

__all__ = ["CaffeBaseService"]
