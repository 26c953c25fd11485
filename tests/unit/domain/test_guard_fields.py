"""Reading ``additional_properties.rollout``: forms, limits, and every problem by its name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.domain.admission.rollout_policy_body import read_rollout
from modelyard.domain.body_reader import Problems
from modelyard.domain.service.rollout_policy import Guard, Rollout

NAME = "additional_properties.rollout"
FULL = {
    "steps": [5, 25, 50],
    "hold_seconds": 30,
    "min_samples": 10,
    "max_error_increase": 0.02,
    "max_latency_ratio": 2,
    "check": "ask_metrics.sh",
    "keep_former_minutes": 10,
}


def read(value: object, **more: Any) -> tuple[Rollout | None, list[str]]:
    problems = Problems()
    found = read_rollout(value, NAME, problems, **more)
    return found, [problem.field for problem in problems.found]


@pytest.mark.parametrize("value", [FULL, json.dumps(FULL)])
def test_an_object_or_a_string_that_holds_one(value: object) -> None:
    guard = Guard((5, 25, 50), 30, 10, 0.02, 2.0, "ask_metrics.sh")
    assert read(value) == (Rollout(guard, 600), [])


@pytest.mark.parametrize("value", [None, "", {}, "{}", {"steps": None}, {"check": ""}])
def test_nothing_asked_is_the_plain_rollout(value: object) -> None:
    assert read(value) == (Rollout(), [])


def test_a_former_revision_may_be_kept_without_steps() -> None:
    assert read({"keep_former_minutes": "15"}) == (Rollout(None, 900), [])


def test_what_is_left_out_has_its_usual_value() -> None:
    assert read({"steps": [50]}) == (Rollout(Guard(steps=(50,))), [])


@pytest.mark.parametrize(
    ("member", "good"),
    [
        ("steps", [1]),
        ("steps", [1, 99]),
        ("steps", list(range(1, 21))),
        ("steps", ["5", 50]),
        ("hold_seconds", 1),
        ("hold_seconds", 86_400),
        ("min_samples", 1),
        ("min_samples", 1_000_000),
        ("max_error_increase", 0),
        ("max_error_increase", 1),
        ("max_latency_ratio", 1),
        ("max_latency_ratio", 100),
        ("check", "a"),
        ("check", "a" * 64),
        ("check", "_x-1.py"),
        ("keep_former_minutes", 0),
        ("keep_former_minutes", 1440),
    ],
)
def test_the_limits_themselves_are_legal(member: str, good: object) -> None:
    found, named = read({**FULL, member: good})
    assert found is not None
    assert named == []
    assert Rollout.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("member", "bad", "named"),
    [
        ("steps", [], "steps"),
        ("steps", list(range(1, 22)), "steps"),
        ("steps", "5,25", "steps"),
        ("steps", 5, "steps"),
        ("steps", [0], "steps[0]"),
        ("steps", [5, 100], "steps[1]"),
        ("steps", [5, 5], "steps[1]"),
        ("steps", [50, 25], "steps[1]"),
        ("steps", [5, None], "steps[1]"),
        ("steps", [5, 25.5], "steps[1]"),
        ("steps", [5, True], "steps[1]"),
        ("steps", [[5]], "steps[0]"),
        ("hold_seconds", 0, "hold_seconds"),
        ("hold_seconds", 86_401, "hold_seconds"),
        ("hold_seconds", 1.5, "hold_seconds"),
        ("hold_seconds", "soon", "hold_seconds"),
        ("min_samples", 0, "min_samples"),
        ("min_samples", 1_000_001, "min_samples"),
        ("min_samples", True, "min_samples"),
        ("max_error_increase", -0.1, "max_error_increase"),
        ("max_error_increase", 1.01, "max_error_increase"),
        ("max_error_increase", "0.1", "max_error_increase"),
        ("max_latency_ratio", 0.99, "max_latency_ratio"),
        ("max_latency_ratio", 100.5, "max_latency_ratio"),
        ("max_latency_ratio", True, "max_latency_ratio"),
        ("check", 7, "check"),
        ("check", "../up", "check"),
        ("check", "a/b", "check"),
        ("check", "..", "check"),
        ("check", ".hidden", "check"),
        ("check", "a b", "check"),
        ("check", "a\n", "check"),
        ("check", "a" * 65, "check"),
        ("keep_former_minutes", -1, "keep_former_minutes"),
        ("keep_former_minutes", 1441, "keep_former_minutes"),
        ("unknown", 1, "unknown"),
    ],
)
def test_everything_else_is_refused_by_its_name(member: str, bad: object, named: str) -> None:
    assert read({**FULL, member: bad}) == (None, [f"{NAME}.{named}"])


@pytest.mark.parametrize(
    "value", [5, True, [], [FULL], "[]", "5", "{", "x" * 5_000, "[" * 4_000, "1" * 4_096]
)
def test_what_is_no_object_is_refused_as_a_whole(value: object) -> None:
    assert read(value) == (None, [NAME])


@pytest.mark.parametrize("text", ['{"max_latency_ratio": NaN}', '{"max_latency_ratio": 1e999}'])
def test_numbers_beyond_json_are_refused(text: str) -> None:
    steps = text.replace("{", '{"steps": [5], ')
    assert read(steps) == (None, [f"{NAME}.max_latency_ratio"])


def test_all_problems_are_told() -> None:
    value = {"steps": [50, 5, 101], "hold_seconds": 0, "min_samples": "x", "extra": 1}
    _, named = read(value)
    assert sorted(named) == [
        f"{NAME}.{member}"
        for member in ("extra", "hold_seconds", "min_samples", "steps[1]", "steps[2]")
    ]


@pytest.mark.parametrize("member", ["hold_seconds", "min_samples", "max_latency_ratio", "check"])
def test_a_guard_without_steps_is_refused_rather_than_dropped(member: str) -> None:
    assert read({member: FULL[member]}) == (None, [f"{NAME}.{member}"])


def test_a_check_must_be_known_where_the_checks_are() -> None:
    assert read(FULL, checks=("other",)) == (None, [f"{NAME}.check"])
    assert read(FULL, checks=()) == (None, [f"{NAME}.check"])
    assert read(FULL, checks=("ask_metrics.sh",))[1] == []


def test_steps_need_a_gateway_that_counts() -> None:
    assert read(FULL, counted=False) == (None, [f"{NAME}.steps"])
    assert read({"keep_former_minutes": 5}, counted=False)[1] == []
