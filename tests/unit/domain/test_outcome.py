"""What a plan means for the service and its update."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_support import (
    NOW,
    failure,
    fresh,
    look,
    ready,
    revision,
    running,
    seen,
    settled,
    starting,
    updated,
    version,
)

from modelyard.domain.rollout.outcome import Outcome, Transition, outcome, run_outcome
from modelyard.domain.rollout.state import Desired, DesiredStatus, Instance, Kept, Step
from modelyard.domain.service.lifecycle import Status

OLD = revision(1, version("a", 2))
NEW = revision(2, version("b", 2, slot="a"))
LEAN = revision(1, version("a", 2, max_unavailable=1.0))


def evaluated(desired: Desired, *instances: Instance, broken: str = "") -> Outcome:
    failures = (failure(broken, message="first"), failure(broken)) if broken else ()
    observed = seen(*instances, failures=failures)
    return outcome(desired, observed, look(desired, *instances, failures=failures))


def test_a_creation_is_deploying_until_it_serves() -> None:
    assert evaluated(running(OLD), starting("i1")) == Outcome(
        Status.DEPLOYING, Transition.CONTINUE, None, None, 0
    )
    half = evaluated(running(OLD), fresh("i1"), starting("i2"))
    assert (half.status, half.progress) == (Status.DEPLOYING, 50)


def test_a_creation_arrives() -> None:
    assert evaluated(running(OLD), fresh("i1"), fresh("i2")) == Outcome(
        Status.RUNNING, Transition.COMPLETED, 1, 1, 100
    )


def test_what_has_arrived_goes_on() -> None:
    assert evaluated(settled(OLD), ready("i1"), ready("i2")) == Outcome(
        Status.RUNNING, Transition.CONTINUE, 1, 1, 100
    )


def test_too_few_ready_instances_are_concerning() -> None:
    assert evaluated(settled(OLD), ready("i1")) == Outcome(
        Status.CONCERNING, Transition.CONTINUE, 1, 1, 50
    )
    assert evaluated(settled(LEAN), ready("i1")).status is Status.RUNNING
    both = revision(1, version("a", weight=50), version("b", weight=50))
    assert evaluated(settled(both), ready("i1")).status is Status.CONCERNING


def test_an_update_under_way_runs_with_the_former_revision() -> None:
    found = evaluated(updated(NEW, OLD), ready("i1"), ready("i2"), starting("i3", "b", slot="a"))
    assert found == Outcome(Status.RUNNING, Transition.CONTINUE, 1, 1, 0)


def test_an_update_that_has_taken_over_serves_but_is_not_live() -> None:
    there = (ready("i1"), ready("i2"), fresh("i3", "b", slot="a"))
    assert evaluated(updated(NEW, OLD), *there) == Outcome(
        Status.RUNNING, Transition.CONTINUE, 2, 1, 50
    )


def test_an_update_arrives() -> None:
    there = (ready("i1", "b", slot="a"), ready("i2", "b", slot="a"))
    assert evaluated(running(NEW, NEW, OLD), *there) == Outcome(
        Status.RUNNING, Transition.COMPLETED, 2, 2, 100
    )


def test_more_than_wanted_is_no_more_than_done() -> None:
    two = revision(2, version("a", 1, 50), version("b", 3, 50))
    there = (ready("i1"), ready("i2"), ready("i3"), ready("i4", "b"))
    assert evaluated(settled(two), *there).progress == 50


def test_a_broken_update_goes_back() -> None:
    found = evaluated(updated(NEW, OLD), ready("i1"), ready("i2"), broken="b1")
    assert found == Outcome(Status.RUNNING, Transition.ROLLS_BACK, 1, 1, 0, "boom")
    assert evaluated(updated(NEW, OLD), ready("i1"), broken="b1").status is Status.CONCERNING
    early = evaluated(running(NEW, None, OLD), broken="b1")
    assert early == Outcome(Status.DEPLOYING, Transition.ROLLS_BACK, None, 1, 0, "boom")


def test_a_broken_update_that_has_taken_over_goes_back_too() -> None:
    there = (ready("i1"), ready("i2"))
    found = evaluated(running(NEW, NEW, OLD), *there, broken="b1")
    assert found == Outcome(Status.RUNNING, Transition.ROLLS_BACK, 2, 1, 0, "boom")


def test_a_broken_creation_is_given_up() -> None:
    assert evaluated(running(OLD), broken="a1") == Outcome(
        Status.FAILED, Transition.FAILED, None, None, 0, "boom"
    )


def test_a_live_service_out_of_its_budget_is_given_up() -> None:
    found = evaluated(settled(OLD, restart_budget=2), starting("i1"), broken="a1")
    assert (found.status, found.transition, found.serving, found.live) == (
        Status.FAILED,
        Transition.FAILED,
        None,
        None,
    )


def test_what_was_given_up_stays_failed() -> None:
    found = evaluated(settled(OLD, given_up=True), ready("i1"))
    assert found == Outcome(Status.FAILED, Transition.CONTINUE, None, None, 0)
    assert evaluated(settled(OLD, given_up=True)) == replace(found, ended=True)


@pytest.mark.parametrize(
    ("wanted", "on_the_way", "at_the_end"),
    [
        (DesiredStatus.STOPPED, Status.STOPPING, Status.STOPPED),
        (DesiredStatus.DELETED, Status.DELETING, Status.DELETING),
    ],
)
def test_stopping_and_deleting_end_when_nothing_is_left(
    wanted: DesiredStatus, on_the_way: Status, at_the_end: Status
) -> None:
    desired = replace(settled(OLD, given_up=True), wanted=wanted)
    assert evaluated(desired, ready("i1")) == Outcome(
        on_the_way, Transition.CONTINUE, None, None, 0
    )
    assert evaluated(desired) == Outcome(at_the_end, Transition.ENDED, None, None, 0, ended=True)


def test_kept_instances_are_no_strength() -> None:
    kept = Kept(OLD, NOW + 9)
    there = (ready("i1"), ready("i2"), ready("i3", "b", slot="a"))
    assert evaluated(settled(NEW, kept=kept), *there).status is Status.CONCERNING


def test_a_step_begins_once_its_split_is_in_force() -> None:
    there = (ready("i1"), ready("i2"), fresh("i3", "b", slot="a"))
    weak = evaluated(updated(NEW, OLD, step=Step(90, 10)), *there)
    assert not weak.step_begun
    strong = evaluated(updated(NEW, OLD, step=Step(10)), *there)
    assert strong.step_begun
    assert not evaluated(updated(NEW, OLD, step=Step(10, since=NOW)), *there).step_begun
    assert not evaluated(updated(NEW, OLD), *there).step_begun


def test_a_kept_revision_is_gone_with_its_last_instance() -> None:
    kept = Kept(OLD, NOW + 9)
    new = (ready("i1", "b", slot="a"), ready("i2", "b", slot="a"))
    assert evaluated(settled(NEW, kept=kept), *new).former_gone
    assert not evaluated(settled(NEW, kept=kept), *new, ready("i3")).former_gone
    assert not evaluated(settled(NEW), *new).former_gone


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_that_is_over_leaves_what_serves_alone(finished: bool) -> None:
    status = Status.FINISHED if finished else Status.FAILED
    found = run_outcome(running(NEW, OLD, OLD), finished=finished, reason="no input")
    assert found == Outcome(status, Transition.FAILED, 1, 1, 0, "no input")
    bare = run_outcome(running(NEW), finished=finished, reason="")
    assert bare == Outcome(status, Transition.FAILED, None, None, 0)


def test_the_strength_is_that_of_what_serves() -> None:
    more = revision(2, version("a", 4))
    assert evaluated(updated(more, OLD), ready("i1"), ready("i2")).status is Status.RUNNING
    fewer = revision(2, version("a", 1))
    found = evaluated(updated(fewer, OLD), ready("i1"))
    assert (found.status, found.serving) == (Status.RUNNING, 2)
    back = evaluated(running(OLD, NEW, OLD), ready("i1"))
    assert (back.status, back.serving) == (Status.CONCERNING, 1)
