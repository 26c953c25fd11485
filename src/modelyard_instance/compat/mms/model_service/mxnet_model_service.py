"""``from mms.model_service.mxnet_model_service import MXNetBaseService`` (models.md §4.1)."""

from modelyard_instance.inference.base_services import MXNetBaseService

__all__ = ["MXNetBaseService"]
