"""Former name of ``sandbox.namespaces``, for fronts of release 0.1 that outlive an upgrade.

Such a front imports it when it starts a confined worker anew. To be removed with release 0.3.
"""

from modelyard_instance.sandbox.namespaces import become, give_up_rights, set_user

__all__ = ["become", "give_up_rights", "set_user"]
