"""``additional_properties.websocket_upgrade`` of a service (services.md §5.1); pure.

Once true it stays so, and what is left out keeps its last value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.domain.body_reader import Fields, shown

KEY = "websocket_upgrade"
_TRUE = (True, "true")
_FALSE = (False, "false")
_UNSAID = (None, "")


def takes_websockets(properties: Mapping[str, Any] | None) -> bool:
    """Whether a service with these stored ``additional_properties`` takes WebSockets."""
    return _among((properties or {}).get(KEY), _TRUE)


def keep_websockets(properties: Fields, present: Mapping[str, Any]) -> dict[str, Any]:
    """Judge the member, and give what of it is to be stored beside what was sent.

    ``present``: the service's map as it is, empty at creation. Nothing is to be added unless the
    map leaves the member out, or null, although it is on.
    """
    value = properties.body.get(KEY)
    on = takes_websockets(present)
    if _among(value, _UNSAID):
        return {KEY: present[KEY]} if on else {}
    if not _among(value, (*_TRUE, *_FALSE)):
        reason = f"{shown(value)} is not true or false"
        properties.problems.invalid(properties.name(KEY), reason, "Send true or false.")
    elif on and _among(value, _FALSE):
        properties.problems.invalid(
            properties.name(KEY), "cannot be turned off once true", "Leave it out or send true."
        )
    return {}


def _among(value: object, choices: tuple[bool | str | None, ...]) -> bool:
    """Whether ``value`` is one of these; 0 and 1 are not taken for false and true."""
    return any(type(value) is type(one) and value == one for one in choices)
