"""The planner run forward: what comes when, and where it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from modelyard.domain.preview import simulation
from modelyard.domain.preview.simulation import Assumptions, Trace, simulate
from modelyard.domain.rollout.backoff import not_before
from modelyard.domain.rollout.state import (
    Desired,
    DesiredStatus,
    Failure,
    Instance,
    Kept,
    Observed,
    RevisionTarget,
    Stage,
    Step,
    VersionTarget,
)
from modelyard.domain.service.rollout_policy import Guard

NOW = 1_000_000_000
A = VersionTarget("a", "a", "fa", 2, 100)
B = replace(A, model_id="b", fingerprint="fb")


def world(start_ms: int = 3_000, **more: int) -> Assumptions:
    return Assumptions({"a": start_ms, "b": start_ms}, 9_000, **more)


def ready(name: str, version: VersionTarget) -> Instance:
    return Instance(
        name,
        version.model_id,
        version.slot,
        version.fingerprint,
        Stage.READY,
        created_at=NOW - 9_000,
        since=NOW - 8_000,
        served_at=NOW - 8_000,
    )


RUNS = Observed((ready("i1", A), ready("i2", A)))
FIRST = RevisionTarget(1, (A,))
LIVE = Desired(DesiredStatus.RUNNING, FIRST, FIRST, FIRST, since=NOW - 9_000)


def changed(
    *versions: VersionTarget,
    keep_former_ms: int = 0,
    steps: tuple[int, ...] = (),
    **more: object,
) -> Desired:
    target = RevisionTarget(2, versions, keep_former_ms, steps)
    return replace(LIVE, target=target, since=NOW, **more)  # type: ignore[arg-type]


def weights(trace: Trace) -> list[Mapping[str, int] | None]:
    splits = [moment.split for moment in trace.moments]
    return [
        {s.model_id: s.weight for s in split.shares} if split else None
        for before, split in pairwise([..., *splits])
        if split != before
    ]


def alive(trace: Trace) -> list[tuple[str, Stage]]:
    return sorted((i.instance_id, i.stage) for i in trace.moments[-1].alive)


def test_nothing_to_do_takes_no_time() -> None:
    trace = simulate(LIVE, RUNS, world(), NOW)
    assert (trace.done_at, trace.at_rest, trace.cause) == (0, True, "")
    assert len(trace.moments) == 1
    assert not trace.starts
    assert not trace.drains


def test_a_deployment_waits_for_the_slowest() -> None:
    new = Desired(DesiredStatus.RUNNING, FIRST, None, None, since=NOW)
    trace = simulate(new, Observed(), world(), NOW)
    assert [s.instance_id for s in trace.starts] == ["new-1", "new-2"]
    assert (trace.moments[0].split, trace.done_at) == (None, 3_000)
    assert weights(trace) == [None, {"a": 100}]


def test_more_instances_leave_the_others_alone() -> None:
    trace = simulate(changed(replace(A, count=4)), RUNS, world(), NOW)
    assert (len(trace.starts), trace.drains, trace.done_at) == (2, (), 3_000)


def test_replacing_goes_one_by_one_within_the_surge() -> None:
    trace = simulate(changed(B), RUNS, world(), NOW)
    assert [(m.at, len(m.starts), m.drains) for m in trace.moments if m.starts or m.drains] == [
        (0, 1, ()),
        (3_000, 0, ("i1",)),
        (3_050, 1, ()),
        (6_050, 0, ("i2",)),
    ]
    assert weights(trace) == [{"a": 100}, {"b": 50, "a": 50}, {"b": 100}]
    at_most = max(sum(i.stage is not Stage.DRAINING for i in m.alive) for m in trace.moments)
    assert (at_most, trace.done_at) == (3, 6_050)
    assert alive(trace) == [("new-1", Stage.READY), ("new-2", Stage.READY)]


def test_probation_is_waited_for() -> None:
    trace = simulate(changed(B, probation_ms=2_000), RUNS, world(), NOW)
    assert trace.done_at == 5_050 + 3_000


def test_what_starts_already_is_about_to_come() -> None:
    late = replace(ready("i2", A), stage=Stage.STARTING, since=NOW - 60_000, served_at=None)
    soon = replace(late, instance_id="i3", since=NOW - 1_000)
    target = replace(LIVE, target=RevisionTarget(2, (replace(A, count=3),)))
    trace = simulate(target, Observed((RUNS.instances[0], late, soon)), world(), NOW)
    assert [(m.at, m.ready) for m in trace.moments if m.ready] == [(50, ("i2",)), (2_000, ("i3",))]
    assert not trace.starts


def test_the_former_stays_loaded_for_its_time() -> None:
    trace = simulate(changed(B, keep_former_ms=600_000), RUNS, world(), NOW)
    assert (len(trace.starts), trace.done_at) == (2, 3_000)
    assert trace.moment(3_000).idle == {"i1", "i2"}
    assert [m.at for m in trace.moments if m.drains] == [603_000]
    assert trace.end.kept is None
    assert alive(trace) == [("new-1", Stage.READY), ("new-2", Stage.READY)]


def test_going_back_to_what_is_loaded_starts_nothing() -> None:
    kept = Kept(RevisionTarget(1, (B,)), NOW + 60_000)
    observed = Observed((*RUNS.instances, ready("k1", B), ready("k2", B)))
    trace = simulate(changed(B, kept=kept), observed, world(), NOW)
    assert (trace.starts, trace.done_at) == ((), 0)
    assert weights(trace)[-1] == {"b": 100}
    assert set(trace.drains) == {"i1", "i2"}


def test_a_guard_holds_each_step() -> None:
    guard = Guard(steps=(10, 50), hold_s=60)
    assumed = replace(world(), guard=guard)
    trace = simulate(changed(B, steps=guard.steps, step=Step(10)), RUNS, assumed, NOW)
    begun = {m.percent: m.at for m in reversed(trace.moments)}
    assert (begun[10], begun[50]) == (3_000, 63_000)
    assert [w for w in weights(trace) if w] == [
        {"a": 100},
        {"a": 90, "b": 10},
        {"a": 50, "b": 50},
        {"b": 50, "a": 50},
        {"b": 100},
    ]
    assert trace.done_at == 126_050
    assert trace.end.step is None


def test_a_step_that_is_in_force_needs_only_the_rest_of_its_time() -> None:
    guard = Guard(steps=(50,), hold_s=60)
    new = replace(ready("n1", B), served_at=NOW - 50_000)
    desired = changed(B, step=Step(50, since=NOW - 50_000))
    assumed = replace(world(), guard=guard)
    trace = simulate(desired, Observed((*RUNS.instances, new)), assumed, NOW)
    flip = next(m for m in trace.moments if m.split and m.split.revision == 2)
    assert flip.at == 10_000


def test_a_late_start_is_given_up_and_the_former_restored() -> None:
    slow = replace(B, start_timeout_ms=2_000)
    trace = simulate(changed(slow), RUNS, world(), NOW)
    assert (trace.done_at, trace.cause) == (None, "not ready within 2 s")
    assert trace.end.target.number == 1
    assert [(m.at, m.killed) for m in trace.moments if m.killed] == [(2_001, ("new-1",))]
    assert alive(trace) == [("i1", Stage.READY), ("i2", Stage.READY)]


def test_a_first_deployment_that_comes_too_late_fails() -> None:
    slow = RevisionTarget(1, (replace(A, start_timeout_ms=2_000),))
    new = Desired(DesiredStatus.RUNNING, slow, None, None, since=NOW)
    trace = simulate(new, Observed(), world(), NOW)
    assert trace.end.given_up
    assert (trace.done_at, alive(trace)) == (None, [])


def test_past_failures_delay_the_next_start() -> None:
    failures = tuple(Failure("fa", NOW - 100 + n, "killed") for n in range(4))
    trace = simulate(LIVE, Observed((RUNS.instances[0],), failures), world(), NOW)
    [start] = [m.at for m in trace.moments if m.starts]
    assert start == not_before(A, Observed((), failures)) - NOW
    assert 900 <= start <= 2_000 - 97
    assert trace.done_at == start + 3_000


def test_a_stop_ends_when_all_have_gone() -> None:
    trace = simulate(replace(LIVE, wanted=DesiredStatus.STOPPED), RUNS, world(drain_ms=700), NOW)
    assert (weights(trace), trace.done_at) == ([None], 700)
    assert (trace.end.serving, alive(trace)) == (None, [])
    brief = tuple(replace(i, grace_ms=100) for i in RUNS.instances)
    trace = simulate(
        replace(LIVE, wanted=DesiredStatus.STOPPED), Observed(brief), world(drain_ms=700), NOW
    )
    assert trace.done_at == 100


def test_an_overtaken_update_leaves_at_once() -> None:
    over = replace(ready("o1", B), stage=Stage.STARTING, served_at=None)
    third = replace(A, fingerprint="fc")
    trace = simulate(changed(third), Observed((*RUNS.instances, over)), world(), NOW)
    assert trace.moments[0].drains == ("o1",)
    assert [s.fingerprint for s in trace.starts] == ["fc", "fc"]
    assert trace.at_rest


def test_a_guarded_step_without_room_stands_still() -> None:
    """Whatever the planner makes of it: the world does not run in circles."""
    guard = Guard(steps=(50,), hold_s=60)
    forty = replace(A, count=40)
    runs = Observed(tuple(ready(f"i{n}", forty) for n in range(40)))
    desired = replace(LIVE, target=RevisionTarget(2, (replace(B, count=40),)), step=Step(50))
    first = RevisionTarget(1, (forty,))
    desired = replace(desired, serving=first, live=first, probation_ms=2_000)
    trace = simulate(desired, runs, replace(world(), guard=guard), NOW)
    assert trace.at_rest


def test_a_world_that_does_not_rest_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "LOOKS", 4)
    trace = simulate(changed(B), RUNS, world(), NOW)
    assert (trace.at_rest, trace.done_at) == (False, None)
