"""What differs between revisions, and what that does to instances."""

from __future__ import annotations

import doctest
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from modelyard.domain.admission import tags
from modelyard.domain.service import revision
from modelyard.domain.service.config import CustomSpec, VersionConfig
from modelyard.domain.service.revision import Effect, diff
from modelyard.domain.service.rollout_policy import Guard, Rollout
from modelyard.domain.service.slots import assign_slots
from modelyard.domain.service.traffic import LoadBalancerPolicy


@dataclass(frozen=True)
class Made:
    config: Sequence[VersionConfig]
    policy: LoadBalancerPolicy = LoadBalancerPolicy.ROUND_ROBIN
    rollout: Rollout = field(default_factory=Rollout)


A = VersionConfig("a", "modelarts.vm.cpu.2u", 2, 100, envs={"X": "1"}, slot="a")
B = VersionConfig("b", "modelarts.vm.cpu.2u", 1, 0)


@pytest.mark.parametrize(
    ("changed", "field", "before", "after", "effect"),
    [
        (replace(A, weight=50), "weight", 100, 50, Effect.NONE),
        (replace(A, shadow=5), "shadow", 0, 5, Effect.NONE),
        (replace(A, max_surge=0.5), "max_surge", 1.0, 0.5, Effect.NONE),
        (replace(A, max_unavailable=1), "max_unavailable", 0.0, 1, Effect.NONE),
        (replace(A, deploy_timeout_s=300), "deploy_timeout_in_seconds", 1200, 300, Effect.NONE),
        (replace(A, grace_s=5), "termination_grace_period_seconds", 60, 5, Effect.NONE),
        (replace(A, instance_count=3), "instance_count", 2, 3, Effect.COUNT),
        (replace(A, envs={"X": "2"}), "envs.X", "1", "2", Effect.REPLACE),
        (replace(A, envs={}), "envs.X", "1", None, Effect.REPLACE),
        (replace(A, envs={"X": "1", "Y": "2"}), "envs.Y", None, "2", Effect.REPLACE),
        (replace(A, model_id="c"), "model_id", "a", "c", Effect.REPLACE),
        (
            replace(A, specification="modelarts.vm.gpu.p4"),
            "specification",
            "modelarts.vm.cpu.2u",
            "modelarts.vm.gpu.p4",
            Effect.REPLACE,
        ),
        (replace(A, custom_spec=CustomSpec(1, 2)), "custom_spec.cpu", None, 1, Effect.REPLACE),
    ],
)
def test_each_field_has_its_effect(
    changed: VersionConfig, field: str, before: object, after: object, effect: Effect
) -> None:
    found = {change.field: change for change in diff(Made((A,)), Made((changed,)))}
    change = found[f"config[0].{field}"]
    assert (change.before, change.after, change.effect) == (before, after, effect)
    assert change.model_id == changed.model_id
    assert all(name.startswith("config[0].") for name in found)
    # Only what instances are made of may say that it replaces them.
    assert (effect is Effect.REPLACE) == (A.fingerprint != changed.fingerprint)


def test_nothing_differs_from_itself() -> None:
    assert diff(Made((A,)), Made((A,))) == ()


def test_versions_come_and_go() -> None:
    both = Made(assign_slots((A,), (A, B)))
    [added] = diff(Made((A,)), both)
    assert (added.field, added.before, added.effect) == ("config[1]", None, Effect.COUNT)
    assert isinstance(added.after, dict)
    assert added.after["model_id"] == "b"
    [gone] = diff(both, Made((A,)))
    assert (gone.field, gone.after, gone.model_id) == ("config[1]", None, "b")
    assert gone.to_json()["effect"] == "adds or removes instances"


def test_order_alone_is_no_change() -> None:
    both = assign_slots((), (A, B))
    assert diff(Made(both), Made(tuple(reversed(both)))) == ()


def test_slots_of_revisions_that_are_no_neighbours_do_not_matter() -> None:
    first = assign_slots((), (A,))
    second = assign_slots(first, (replace(B, weight=100),))
    third = assign_slots(second, (A, B))
    back = assign_slots(third, (A,))
    assert diff(Made(first), Made(back)) == ()


def test_policy_and_rollout() -> None:
    new = Made((A,), LoadBalancerPolicy.SOURCE_IP, Rollout(Guard(), 60))
    changes = diff(Made((A,)), new)
    assert [change.field for change in changes] == [
        "load_balancer_policy",
        "rollout.keep_former_seconds",
        "rollout.guard",
    ]
    assert {change.effect for change in changes} == {Effect.NONE}
    assert [change.field for change in diff(new, Made((A,)))][-1] == "rollout.guard"


@pytest.mark.parametrize("module", [revision, tags])
def test_examples(module: object) -> None:
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert tried and not failed
