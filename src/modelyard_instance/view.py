"""Former name of ``sandbox.mount_view``, for fronts of release 0.1 that outlive an upgrade.

Such a front imports it when it starts a confined worker anew. To be removed with release 0.3.
"""

from modelyard_instance.sandbox.mount_view import prctl, show_only

__all__ = ["prctl", "show_only"]
