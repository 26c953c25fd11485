"""WebSocket upgrades in the gateway (pure).

Envoy decides on an upgrade by the first route of a request, which here is that of a request whose
token has not been looked at. So the listener lets WebSockets in, through filters of their own, and
the second route, chosen when the token is verified, leads them on or refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from envoy.config.route.v3 import route_components_pb2 as route
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue

from modelyard.gateway.config.resources import names
from modelyard.gateway.config.resources.clusters import duration
from modelyard.gateway.config.routing.route_parts import error_answer, refusal, set_header

_WEBSOCKET = "websocket"

NO_UPGRADE = route.RouteAction.UpgradeConfig(
    upgrade_type=_WEBSOCKET, enabled=BoolValue(value=False)
)
"""For routes that Envoy decides by at once: those which no token leads to."""


def listener_upgrades(filters: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """HCM ``upgrade_configs``: WebSockets go through ``filters`` but the one that waits for the
    whole body, which never ends.
    """
    kept = [one for one in filters if one["name"] != names.BUFFER_FILTER]
    return [{"upgrade_type": _WEBSOCKET, "filters": kept}]


@cache
def asks_upgrade() -> Message:
    """Matches requests that ask for a WebSocket; Envoy takes the header from all others."""
    kind = string_pb2.StringMatcher(exact=_WEBSOCKET, ignore_case=True)
    match: Message = route.HeaderMatcher(name="upgrade", string_match=kind)
    return match


def upgraded(forward: Message, idle_s: float) -> Message:
    """``forward`` for WebSockets, which may be silent for ``idle_s`` seconds.

    Its timeout is that of the handshake now. No copies: a shadow would talk to nobody.
    """
    action = route.RouteAction()
    action.CopyFrom(forward)
    action.idle_timeout.CopyFrom(duration(idle_s))
    action.ClearField("request_mirror_policies")
    action.upgrade_configs.add(upgrade_type=_WEBSOCKET)
    result: Message = action
    return result


def no_websockets(service_id: str, match: Message) -> Message:
    """The refusal of a service that takes no WebSockets."""
    message = (
        f"Service {service_id} takes no WebSockets. Set websocket_upgrade to true in its "
        "additional_properties, or send an ordinary request."
    )
    return refusal("no-websockets", match, error_answer(403, "0101", message))


def no_handshake(match: Message) -> Message:
    """The refusal of what asks for a WebSocket otherwise than by GET: its body knows no limit."""
    answer = error_answer(405, "0101", "Method Not Allowed. WebSockets are asked for by GET.")
    return refusal("no-handshake", match, answer, set_header("allow", "GET"))
