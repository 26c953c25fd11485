"""Former name of ``server.websocket``, for fronts of release 0.1 that outlive an upgrade.

Such a front imports it with its first WebSocket. To be removed with release 0.3.
"""

from modelyard_instance.server.websocket import open_websocket

__all__ = ["open_websocket"]
