"""On what terms a change goes ahead, how instances are exchanged, and who answered a request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from standin import StandIn

from modelyard.cli.commands.service.config import with_rollout
from modelyard.cli.terminal.change_preview import Terms

Run = Callable[..., Any]


ONE: dict[str, Any] = {
    **{"model_name": "m1", "model_version": "0.0.1", "model_id": "m1"},
    "model_status": "published",
}


def _config(standin: StandIn) -> dict[str, Any]:
    """The one entry of the update that was sent."""
    [entry] = json.loads(next(body for seen, _, body in standin.seen if seen == "PUT"))["config"]
    found: dict[str, Any] = entry
    return found


def test_the_etag_that_show_tells_is_what_a_change_takes(modelyard: Run, standin: StandIn) -> None:
    standin.statuses, standin.models = ["running"], [ONE]
    shown = json.loads(modelyard("service", "show", "iris", "--json").out)
    assert shown["etag"] == "7"
    assert "etag" in modelyard("service", "show", "iris").out
    ran = modelyard("service", "update", "iris", "--env", "A=2", "--if-match", shown["etag"])
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("update", "iris", "--description", "new"),
        ("update", "iris", "--description", "new", "--dry-run"),
        ("patch", "iris", "/config/0/weight=100"),
        ("rollback", "iris", "1"),
    ],
)
def test_who_was_overtaken_hears_of_it_and_changes_nothing(
    modelyard: Run, standin: StandIn, words: tuple[str, ...]
) -> None:
    standin.etag = '"8"'
    ran = modelyard("service", *words, "--if-match", "7")
    assert (ran.code, ran.out) == (1, "")
    assert 'the service was changed meanwhile, its ETag is "8" now' in ran.err


@pytest.mark.parametrize(
    ("given", "sent"),
    [("7", '"7"'), ('"7"', '"7"'), ("*", "*"), ('"7", "8"', '"7", "8"'), ('W/"7"', 'W/"7"')],
)
def test_a_tag_gets_back_the_marks_that_a_shell_has_taken(given: str, sent: str) -> None:
    assert Terms(if_match=given).headers == {"If-Match": sent}
    assert Terms().headers == {}


def test_how_instances_are_exchanged_may_be_all_that_changes(
    modelyard: Run, standin: StandIn
) -> None:
    standin.statuses, standin.models = ["running"], [ONE]
    standin.properties = {"max_surge": 2, "shadow": 10}
    ran = modelyard(
        *("service", "update", "iris", "--max-surge", "0.5", "--max-unavailable", "1"),
        *("--grace", "20", "--no-wait"),
    )
    assert ran.code == 0, ran.err
    entry = _config(standin)
    assert entry["additional_properties"] == {
        "shadow": 10,
        "max_surge": 0.5,
        "max_unavailable": 1.0,
        "termination_grace_period_seconds": 20,
    }
    assert (entry["model_id"], entry["weight"], entry["instance_count"]) == ("m1", 100, 2)
    assert entry["envs"] == {"A": "1"}


def test_a_whole_config_says_it_itself(modelyard: Run) -> None:
    ran = modelyard("service", "update", "iris", "--config", "[]", "--grace", "20")
    assert (ran.code, "--config cannot be combined" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"max_surge": 3}),
        ({"max_surge": 1, "shadow": 5}, {"shadow": 5, "max_surge": 3}),
        ({"any": {"max_surge": 1}}, {"max_surge": 3}),
        ({"any": {"max_surge": 1, "shadow": 5}}, {"any": {"shadow": 5}, "max_surge": 3}),
        ({"empty": {}}, {"empty": {}, "max_surge": 3}),
    ],
)
def test_nothing_is_said_twice(before: dict[str, object], after: dict[str, object]) -> None:
    assert with_rollout(before, {"max_surge": 3}) == after


def test_a_request_is_led_back_to_its_instance(modelyard: Run) -> None:
    ran = modelyard("service", "request", "iris", "r-1")
    assert ran.code == 0, ran.err
    for words in ("iris:0.0.2", "instance-a", "12 ms", "200"):
        assert words in ran.out
    found = json.loads(modelyard("service", "request", "iris", "r-1", "--json").out)
    assert found["revision"] == 3
    gone = modelyard("service", "request", "iris", "r-2")
    assert (gone.code, "has no request 'r-2'" in gone.err) == (1, True)
