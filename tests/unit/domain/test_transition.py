"""What changes and outcomes make of the desired state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_support import LONG_AGO, NOW, revision, running, settled, updated, version

from modelyard.domain.canary.analysis import Decision
from modelyard.domain.rollout.outcome import Outcome, Transition
from modelyard.domain.rollout.state import Desired, DesiredStatus, Kept, RevisionTarget, Step
from modelyard.domain.rollout.transition import (
    Change,
    Configure,
    Delete,
    Describe,
    Start,
    StepDecision,
    Stop,
    accept,
    accepted_status,
    apply,
    begin,
    decide,
)
from modelyard.domain.service.lifecycle import Status

OLD = revision(1, version("a"))
NEW = revision(2, version("b", slot="a"))
STEPPED = replace(NEW, steps=(5, 50))
KEEPING = replace(NEW, keep_former_ms=7_000)
ANY = Kept(revision(0, version("z")), NOW + 9)


def result(
    transition: Transition = Transition.CONTINUE,
    serving: int | None = 1,
    live: int | None = 1,
    status: Status = Status.RUNNING,
    **more: bool,
) -> Outcome:
    return Outcome(status, transition, serving, live, 0, "boom", **more)


def test_a_service_begins_by_wanting_its_first_revision() -> None:
    assert begin(OLD, NOW) == Desired(
        DesiredStatus.RUNNING, OLD, None, None, since=NOW, generation=1
    )


def test_a_description_changes_nothing_but_the_generation() -> None:
    before = updated(STEPPED, OLD, generation=4, step=Step(5), rejected="errs", given_up=True)
    assert accept(before, Describe(), NOW) == replace(before, generation=5)


def test_a_configuration_is_aimed_at_from_now_on() -> None:
    before = settled(OLD, generation=4, given_up=True, finished=True, rejected="errs", kept=ANY)
    assert accept(before, Configure(NEW), NOW) == replace(
        before,
        target=NEW,
        since=NOW,
        given_up=False,
        finished=False,
        rejected="",
        generation=5,
    )


def test_a_configuration_of_a_stopped_service_leaves_it_stopped() -> None:
    after = accept(replace(settled(OLD), wanted=DesiredStatus.STOPPED), Configure(NEW), NOW)
    assert (after.wanted, after.target) == (DesiredStatus.STOPPED, NEW)


@pytest.mark.parametrize(
    ("before", "target", "step"),
    [
        (settled(OLD), STEPPED, Step(5)),
        (updated(STEPPED, OLD, step=Step(50, 5, NOW)), replace(STEPPED, number=3), Step(5)),
        (settled(OLD), NEW, None),
        (updated(STEPPED, OLD, step=Step(50, 5, NOW)), NEW, None),
        (running(OLD), STEPPED, None),
        (settled(STEPPED), STEPPED, None),
    ],
)
def test_a_canary_needs_steps_and_a_live_revision_to_compare_with(
    before: Desired, target: RevisionTarget, step: Step | None
) -> None:
    assert accept(before, Configure(target), NOW).step == step


def test_a_new_run_begins_as_if_nothing_ran() -> None:
    after = accept(settled(OLD), Configure(STEPPED, new_run=True), NOW)
    assert (after.serving, after.live, after.step) == (None, None, None)


def test_a_start_tries_the_same_target_anew() -> None:
    before = updated(
        STEPPED, OLD, wanted=DesiredStatus.STOPPED, given_up=True, finished=True, generation=4,
        step=Step(50, 5, NOW), rejected="errs",
    )  # fmt: skip
    assert accept(before, Start(), NOW) == replace(
        before,
        wanted=DesiredStatus.RUNNING,
        since=NOW,
        given_up=False,
        finished=False,
        step=Step(5),
        rejected="",
        generation=5,
    )


@pytest.mark.parametrize(
    ("change", "wanted"),
    [(Stop(), DesiredStatus.STOPPED), (Delete(), DesiredStatus.DELETED)],
)
def test_a_stop_keeps_the_configuration(change: Change, wanted: DesiredStatus) -> None:
    before = updated(STEPPED, OLD, given_up=True, finished=True, step=Step(5), generation=4)
    assert accept(before, change, NOW) == replace(
        before,
        wanted=wanted,
        since=NOW,
        given_up=False,
        finished=False,
        step=None,
        generation=5,
    )


@pytest.mark.parametrize(
    ("change", "given_up", "status"),
    [
        (Describe(), True, None),
        (Configure(NEW), False, None),
        (Configure(NEW), True, Status.DEPLOYING),
        (Configure(NEW, new_run=True), False, Status.DEPLOYING),
        (Start(), False, Status.DEPLOYING),
        (Stop(), True, Status.STOPPING),
        (Delete(), True, Status.DELETING),
    ],
)
def test_the_status_changes_at_once_where_the_work_begins_anew(
    change: Change, given_up: bool, status: Status | None
) -> None:
    assert accepted_status(settled(OLD, given_up=given_up), change) is status


IN_FORCE = updated(STEPPED, OLD, step=Step(5, since=LONG_AGO), generation=4)


@pytest.mark.parametrize("decision", list(Decision))
def test_no_decision_matters_before_the_step_is_in_force(decision: Decision) -> None:
    for desired in (replace(IN_FORCE, step=Step(5)), replace(IN_FORCE, step=None)):
        assert decide(desired, StepDecision(decision, "why", restart=True), NOW) is desired


def test_a_good_step_is_followed_by_the_next_and_the_last_by_none() -> None:
    good = StepDecision(Decision.CONTINUE, "all is well")
    second = decide(IN_FORCE, good, NOW)
    assert second == replace(IN_FORCE, step=Step(50, before=5))
    in_force = replace(second, step=Step(50, 5, NOW))
    assert decide(in_force, good, NOW) == replace(in_force, step=None)


def test_a_bad_step_rejects_the_target() -> None:
    bad = StepDecision(Decision.ROLL_BACK, "[m 2] errs")
    assert decide(IN_FORCE, bad, NOW) == replace(IN_FORCE, rejected="[m 2] errs")


def test_a_step_that_holds_goes_on_as_it_is() -> None:
    assert decide(IN_FORCE, StepDecision(Decision.HOLD, "waits"), NOW) == IN_FORCE
    assert decide(IN_FORCE, StepDecision(Decision.HOLD, "waits"), LONG_AGO) == IN_FORCE


def test_lost_counts_and_a_clock_that_was_set_back_begin_the_step_anew() -> None:
    lost = decide(IN_FORCE, StepDecision(Decision.HOLD, "lost", restart=True), NOW)
    assert lost == replace(IN_FORCE, step=Step(5, since=NOW))
    ahead = decide(IN_FORCE, StepDecision(Decision.HOLD, "waits"), LONG_AGO - 1)
    assert ahead == replace(IN_FORCE, step=Step(5, since=LONG_AGO - 1))


def test_what_serves_and_is_live_is_what_the_outcome_says() -> None:
    before = updated(NEW, OLD, generation=4)
    assert apply(before, result(serving=2), NOW) == replace(before, serving=NEW)
    assert apply(before, result(serving=None, live=None), NOW) == replace(
        before, serving=None, live=None
    )
    third = revision(3, version("c", slot="a"))
    between = replace(running(third, NEW, OLD))
    assert apply(between, result(serving=2), NOW) == between


def test_a_step_begins_when_its_split_is_acknowledged() -> None:
    before = updated(STEPPED, OLD, step=Step(50, 5))
    assert apply(before, result(step_begun=True), NOW).step == Step(50, 5, NOW)
    assert apply(before, result(), NOW).step == Step(50, 5)


def test_a_broken_update_aims_at_the_live_revision_again() -> None:
    before = updated(STEPPED, OLD, generation=4, step=Step(5, since=NOW), rejected="errs", kept=ANY)
    after = apply(before, result(Transition.ROLLS_BACK, former_gone=True), NOW)
    assert after == replace(before, target=OLD, since=NOW, step=None, rejected="", generation=5)


@pytest.mark.parametrize(("status", "finished"), [(Status.FAILED, False), (Status.FINISHED, True)])
def test_what_is_over_waits_for_its_caller(status: Status, finished: bool) -> None:
    before = settled(OLD, generation=4)
    after = apply(before, result(Transition.FAILED, status=status), NOW)
    assert after == replace(before, given_up=True, finished=finished, generation=5)


def test_a_completed_update_is_live_and_keeps_no_former_unless_asked() -> None:
    before = updated(STEPPED, OLD, step=Step(50, 5, NOW), generation=4)
    after = apply(before, result(Transition.COMPLETED, 2, 2), NOW)
    assert after == replace(before, serving=STEPPED, live=STEPPED, step=None)


def test_a_completed_update_keeps_the_former_revision_as_long_as_asked() -> None:
    after = apply(updated(KEEPING, OLD, kept=ANY), result(Transition.COMPLETED, 2, 2), NOW)
    assert after.kept == Kept(OLD, NOW + 7_000)
    first = apply(running(KEEPING), result(Transition.COMPLETED, 2, 2), NOW)
    assert first.kept is None


@pytest.mark.parametrize(
    ("live", "outcome", "until", "forgotten"),
    [
        (OLD, result(former_gone=True), NOW + 9, True),
        (OLD, result(), NOW, False),
        (NEW, result(live=2, former_gone=True), NOW + 9, False),
        (NEW, result(live=2, former_gone=True), NOW + 1, False),
        (NEW, result(live=2, former_gone=True), NOW, True),
        (NEW, result(live=2), NOW, False),
        (NEW, result(live=2, former_gone=True, ended=True), NOW + 9, True),
        (None, result(live=None, former_gone=True), NOW + 9, False),
        (None, result(live=None, former_gone=True), NOW, True),
        (NEW, result(Transition.COMPLETED, 1, 1, former_gone=True), NOW + 9, True),
    ],
)
def test_a_kept_revision_counts_until_nothing_needs_it(
    live: RevisionTarget | None, outcome: Outcome, until: int, forgotten: bool
) -> None:
    kept = Kept(ANY.revision, until)
    after = apply(running(OLD, OLD, live, kept=kept), outcome, NOW)
    assert after.kept == (None if forgotten else kept)
