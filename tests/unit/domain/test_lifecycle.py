"""The table of services.md §7."""

from __future__ import annotations

import pytest

from modelyard.domain.lifecycle import Action, Status, Verdict, allowed_in, may


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


def test_same_status_is_neither_allowed_nor_forbidden() -> None:
    assert may(Status.RUNNING, Action.START) is Verdict.SAME
    assert may(Status.STOPPED, Action.STOP) is Verdict.SAME
