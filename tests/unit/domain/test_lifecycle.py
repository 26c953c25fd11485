"""The tables of services.md §7."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.domain.service.lifecycle import (
    TRANSITIONS,
    Action,
    Status,
    Verdict,
    allowed_in,
    follows,
    may,
)
from modelyard.domain.states_page import states_page

PAGE = Path(__file__).parents[3] / "docs" / "states.md"


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("action", list(Action))
def test_every_cell_is_decided(status: Status, action: Action) -> None:
    assert may(status, action) in Verdict


def test_nothing_is_allowed_while_stopping_or_deleting() -> None:
    for status in (Status.STOPPING, Status.DELETING):
        assert {may(status, action) for action in Action} == {Verdict.FORBIDDEN}


def test_config_is_allowed_where_it_can_be_carried_out() -> None:
    expected = {"running", "concerning", "failed", "stopped", "finished"}
    assert set(allowed_in(Action.CONFIGURE)) == expected


def test_property_is_allowed_where_instances_can_be_added() -> None:
    assert set(allowed_in(Action.PROPERTY)) == {"running", "concerning", "failed"}


def test_same_status_is_neither_allowed_nor_forbidden() -> None:
    assert may(Status.RUNNING, Action.START) is Verdict.SAME
    assert may(Status.STOPPED, Action.STOP) is Verdict.SAME


def test_what_users_cause_is_what_they_may() -> None:
    for action, word in ((Action.START, "start"), (Action.STOP, "stop"), (Action.DELETE, "delete")):
        caused = {t.before for t in TRANSITIONS if t.by == "user" and t.trigger.startswith(word)}
        assert set(allowed_in(action)) == caused
    configured = {t.before for t in TRANSITIONS if t.by == "user" and "update" in t.trigger}
    assert configured <= set(allowed_in(Action.CONFIGURE))


def test_nothing_comes_back_from_deleting() -> None:
    assert not any(t.before is Status.DELETING for t in TRANSITIONS)
    assert follows(Status.DELETING, Status.DELETING)
    assert not follows(Status.STOPPED, Status.RUNNING)


def test_the_page_says_what_the_tables_say() -> None:
    remedy = "python -m modelyard.domain.states_page > docs/states.md"
    assert PAGE.read_text(encoding="utf-8") == states_page(), remedy
