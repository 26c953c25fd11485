"""``websocket_upgrade``: off by default, on for good, and kept by updates that do not name it."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.domain.admission.requests import Facts, Present
from modelyard.domain.admission.service_body import read_update
from modelyard.domain.admission.websocket_upgrade import takes_websockets

ON = {"websocket_upgrade": True, "owner": "jo"}


def stored(sent: dict[str, Any] | None, present: dict[str, Any] | None) -> Any:
    """What an update that sends this map stores; None: it leaves the map alone."""
    body = {"description": "x"} if sent is None else {"additional_properties": sent}
    wish, problems = read_update(body, Facts({}, present=Present(additional_properties=present)))
    assert wish is not None, problems
    return wish.additional_properties


@pytest.mark.parametrize(
    ("properties", "on"),
    [
        (None, False),
        ({}, False),
        ({"websocket_upgrade": None}, False),
        ({"websocket_upgrade": ""}, False),
        ({"websocket_upgrade": "false"}, False),
        ({"websocket_upgrade": 1}, False),
        ({"websocket_upgrade": True}, True),
        ({"websocket_upgrade": "true"}, True),
    ],
)
def test_it_is_on_when_it_says_so(properties: dict[str, Any] | None, on: bool) -> None:
    assert takes_websockets(properties) is on


@pytest.mark.parametrize("sent", [{"a": "b"}, {"a": "b", "websocket_upgrade": None}])
def test_what_an_update_leaves_out_keeps_its_last_value(sent: dict[str, Any]) -> None:
    assert stored(sent, ON) == {"a": "b", "websocket_upgrade": True}
    assert stored(sent, {"websocket_upgrade": False}) == sent
    assert stored(sent, None) == sent
    assert stored(None, ON) is None


def test_it_can_be_turned_on_by_an_update() -> None:
    assert stored({"websocket_upgrade": "true"}, {"a": "b"}) == {"websocket_upgrade": "true"}


@pytest.mark.parametrize("off", [False, "false"])
def test_it_cannot_be_turned_off(off: object) -> None:
    facts = Facts({}, present=Present(additional_properties=ON))
    wish, problems = read_update({"additional_properties": {"websocket_upgrade": off}}, facts)
    assert wish is None
    [problem] = problems
    assert problem.field == "additional_properties.websocket_upgrade"
    assert "cannot be turned off" in problem.reason
