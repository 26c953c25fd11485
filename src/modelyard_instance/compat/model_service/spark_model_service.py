"""``from model_service.spark_model_service import SparkServingBaseService`` (models.md §4.1)."""

from modelyard_instance.inference.base_services import SparkServingBaseService

__all__ = ["SparkServingBaseService"]
