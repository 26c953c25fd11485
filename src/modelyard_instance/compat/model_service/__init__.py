"""Import paths of the base classes that inference scripts derive from (models.md §4.1)."""

from modelyard_instance.inference.base_services import SingleNodeService

__all__ = ["SingleNodeService"]
