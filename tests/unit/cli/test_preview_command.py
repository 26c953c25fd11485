"""``--dry-run`` prints a plan; ``--plan`` goes ahead by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from standin import SERVICE_ID, StandIn

Run = Callable[..., Any]

OLD = {"model_id": "m1", "model_name": "iris", "model_version": "0.0.1"}
NEW = {"model_id": "m2", "model_name": "iris", "model_version": "0.0.2"}
NONE = {"cpu": None, "memory_mb": None, "gpu": None, "npu": None}
FOUR = {"cpu": 4.0, "memory_mb": 16384, "gpu": 0.5, "npu": 0}
PLAN: dict[str, Any] = {
    "service_id": SERVICE_ID,
    "service_name": "iris",
    "revision": 4,
    "changes": [
        {"field": "config[0].model_id", "before": "m1", "after": "m2", "effect": "replaces"},
        {"field": "rollout.guard", "before": None, "after": {"steps": [5]}, "effect": "nothing"},
    ],
    "instances": [
        {**NEW, "instance_id": name, "revision": 4, "action": "started", "when_s": 0.0, "why": "w"}
        for name in ("new-1", "new-2")
    ]
    + [
        {
            **OLD,
            "instance_id": "12345678-9",
            "revision": None,
            "action": "kept loaded",
            "when_s": 3.5,
            "until_s": 603.5,
            "why": "going back",
        }
    ],
    "traffic": [
        {"at_s": 0.0, "revision": None, "versions": [], "why": "as it is now"},
        {
            "at_s": 3.5,
            "revision": 4,
            "versions": [{**NEW, "revision": 4, "weight": 100, "instances": 2, "shadow": 5}],
            "why": "takes over",
        },
    ],
    "peak": [
        {
            "pool": "the shared pool",
            "now": FOUR,
            "during": FOUR,
            "kept": FOUR,
            "after": FOUR,
            "free": NONE,
        }
    ],
    "expected_seconds": 3.5,
    "expected_by": "[iris 0.0.2] took 3.5 s.",
    "sentences": ["Starts 2 instances of [iris 0.0.2].", "Takes about 3.5 s."],
    "plan_token": "tok-en",
}


def test_a_plan_is_printed_as_one_would_sign_it(modelyard: Run, standin: StandIn) -> None:
    standin.plan = PLAN
    ran = modelyard("service", "update", "iris", "--description", "a b", "--dry-run")
    assert ran.code == 0, ran.err
    assert standin.queries == [{"dry_run": "true"}]
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    for line in (
        "Plan for service iris: revision 4",
        "Starts 2 instances of [iris 0.0.2].",
        "config[0].model_id m1 m2 replaces",
        "now started iris:0.0.2 4 new-1, new-2 w",
        "3.5 s kept loaded until 603.5 s iris:0.0.1 - 12345678 going back",
        "now - not started as it is now",
        "3.5 s 4 iris:0.0.2 100 % on 2 instances, shadow of 5 % takes over",
        "Expected 3.5 s",
        "modelyard service update iris --description 'a b' --plan tok-en",
    ):
        assert line in lines, ran.out
    assert any("no limit" in line and "16,384 MB, 0.5 GPU" in line for line in lines)


def test_as_json_it_is_the_answer(modelyard: Run, standin: StandIn) -> None:
    standin.plan = PLAN
    ran = modelyard("service", "stop", "iris", "--dry-run", "--json")
    assert json.loads(ran.out) == PLAN


@pytest.mark.parametrize(
    "command",
    [
        ("update", "iris", "--description", "x"),
        ("patch", "iris", "/config/0/weight=100"),
        ("rollback", "iris", "1"),
        ("start", "iris"),
        ("stop", "iris"),
    ],
)
def test_every_change_takes_a_plan(
    modelyard: Run, standin: StandIn, command: tuple[str, ...]
) -> None:
    standin.plan = PLAN
    ran = modelyard("service", *command, "--plan", "old", "--dry-run")
    assert standin.queries == [{"dry_run": "true", "plan_token": "old"}]
    assert ran.out.rstrip().endswith("--plan tok-en")
    assert "old" not in ran.out.rsplit("\n", 3)[-2]
    ran = modelyard("service", *command, "--plan", "tok-en", "--no-wait")
    assert (ran.code, standin.queries[-1]) == (0, {"plan_token": "tok-en"}), ran.err


def test_a_refused_plan_is_printed_with_the_refusal(modelyard: Run, standin: StandIn) -> None:
    preview = {key: value for key, value in PLAN.items() if key != "plan_token"}
    standin.plan = {"error_code": "ModelArts.3976", "error_msg": "no room", "preview": preview}
    standin.plan_status = 400
    ran = modelyard("service", "update", "iris", "--description", "x", "--dry-run")
    assert (ran.code, "no room" in ran.err) == (1, True)
    assert "Starts 2 instances" in ran.out
    assert "To go ahead" not in ran.out
    standin.plan = {"error_code": "ModelArts.3037", "error_msg": "bad", "problems": []}
    ran = modelyard("service", "update", "iris", "--description", "x", "--dry-run")
    assert (ran.code, ran.out, "bad" in ran.err) == (1, "", True)
