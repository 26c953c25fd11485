"""Commands for a service's past, its tags and changes in part."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from standin import SERVICE_ID, StandIn

Run = Callable[..., Any]


def _sent(standin: StandIn, method: str) -> list[tuple[str, Any]]:
    return [
        (path.removeprefix(f"/v1/p1/services/{SERVICE_ID}"), json.loads(body) if body else None)
        for seen, path, body in standin.seen
        if seen == method
    ]


def test_revisions_are_listed(modelyard: Run) -> None:
    ran = modelyard("service", "revisions", "iris")
    assert ran.code == 0, ran.err
    assert "iris:0.0.1=100x2" in ran.out
    assert "brings back 1" in ran.out
    assert "created" in ran.out
    listed = json.loads(modelyard("service", "revisions", "iris", "--json").out)
    assert [one["number"] for one in listed["revisions"]] == [3, 1]


def test_revisions_are_compared(modelyard: Run, standin: StandIn) -> None:
    ran = modelyard("service", "compare", "iris", "1", "3")
    assert ran.code == 0, ran.err
    assert standin.queries == [{"from": "1", "to": "3"}]
    assert "config[0].weight" in ran.out
    assert "no restart" in ran.out


def test_a_rollback_waits_for_its_end(modelyard: Run, standin: StandIn) -> None:
    standin.statuses = ["running"]
    ran = modelyard("service", "rollback", "iris", "1")
    assert ran.code == 0, ran.err
    assert "Revision 1 of iris is back." in ran.err
    assert _sent(standin, "POST")[-1] == ("/revisions/1/rollback", None)
    assert any(path == "/logs" for path, _ in _sent(standin, "GET"))


def test_what_served_is_shown(modelyard: Run, standin: StandIn) -> None:
    ran = modelyard("service", "served", "iris", "2026-03-01T14:03:00+01:00")
    assert ran.code == 0, ran.err
    assert standin.queries == [{"at": "2026-03-01T14:03:00+01:00"}]
    assert "now" in ran.out


def test_patches_are_sent_as_json_pointers(modelyard: Run, standin: StandIn) -> None:
    ran = modelyard(
        "service", "patch", "iris", "/config/0/weight=30", "/config/0/envs/A=x=y", "--no-wait"
    )
    assert ran.code == 0, ran.err
    assert _sent(standin, "PATCH") == [
        (
            "",
            [
                {"op": "replace", "path": "/config/0/weight", "value": 30},
                {"op": "replace", "path": "/config/0/envs/A", "value": "x=y"},
            ],
        )
    ]
    ran = modelyard("service", "patch", "iris", "weight=30")
    assert (ran.code, "names no change" in ran.err) == (1, True)


def test_tags_are_set_removed_and_shown(modelyard: Run, standin: StandIn) -> None:
    ran = modelyard("service", "tag", "iris", "env=prod", "team", "--remove", "old")
    assert ran.code == 0, ran.err
    assert "prod" in ran.out
    gone = ("/tags/delete", {"tags": [{"key": "old"}]})
    put = ("/tags/create", {"tags": [{"key": "env", "value": "prod"}, {"key": "team"}]})
    assert (_sent(standin, "DELETE"), _sent(standin, "POST")) == ([gone], [put])
