"""How the desired state changes: the only place that decides it; pure.

``accept`` applies what a caller asks for, ``decide`` what the canary analysis has found, ``apply``
the outcome of a reconcile. The service's row is projected from the result
(``store/service/desired.py``); previews and their simulation run on the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from modelyard.domain.canary.analysis import Decision
from modelyard.domain.rollout.outcome import Outcome, Transition
from modelyard.domain.rollout.state import Desired, DesiredStatus, Kept, RevisionTarget, Step
from modelyard.domain.service.lifecycle import Status


@dataclass(frozen=True, slots=True)
class Describe:
    """Change what no revision holds: the description, the schedule, tags…"""


@dataclass(frozen=True, slots=True)
class Configure:
    """Aim at the new revision ``target``.

    ``new_run``: the run of a batch service does not continue under it, so another one begins.
    """

    target: RevisionTarget
    new_run: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Run the service, with the configuration that was asked for last."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the service; it keeps its configuration."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Stop the service, and delete it once no instance is left."""


Change: TypeAlias = Describe | Configure | Start | Stop | Delete


@dataclass(frozen=True, slots=True)
class StepDecision:
    """What becomes of a canary step; ``reason`` is a sentence.

    ``restart``: what was counted since the step began is lost, so that its time begins again.
    """

    decision: Decision
    reason: str
    restart: bool = False


def begin(target: RevisionTarget, now: int) -> Desired:
    """The desired state of a service that is created at ``now`` (ms)."""
    return Desired(DesiredStatus.RUNNING, target, None, None, since=now, generation=1)


def accept(desired: Desired, change: Change, now: int) -> Desired:
    """The desired state after ``change``, which was accepted at ``now`` (ms)."""
    after = _next(desired)
    match change:
        case Describe():
            return after
        case Configure(target, new_run):
            # A run begins as if nothing ran: instances count only where they are alike.
            begun = replace(after, serving=None, live=None) if new_run else after
            return _aim_at(begun, target, now)
        case Start():
            return _aim_at(replace(after, wanted=DesiredStatus.RUNNING), desired.target, now)
        case Stop():
            return _halt(after, DesiredStatus.STOPPED, now)
        case Delete():
            return _halt(after, DesiredStatus.DELETED, now)


def accepted_status(desired: Desired, change: Change) -> Status | None:
    """The status that a service in ``desired`` has from ``change`` on, until it is reconciled.

    None: the one it has.
    """
    match change:
        case Start():
            return Status.DEPLOYING
        case Stop():
            return Status.STOPPING
        case Delete():
            return Status.DELETING
        case Configure(new_run=new_run) if new_run or desired.given_up:
            return Status.DEPLOYING
        case _:
            return None


def decide(desired: Desired, found: StepDecision, now: int) -> Desired:
    """The desired state after the canary analysis has looked at its step, at ``now`` (ms)."""
    step = desired.step
    if step is None or step.since is None:
        return desired
    if found.decision is Decision.ROLL_BACK:
        return replace(desired, rejected=found.reason)
    if found.decision is Decision.CONTINUE:
        later = [percent for percent in desired.target.steps if percent > step.percent]
        return replace(desired, step=Step(later[0], step.percent) if later else None)
    if found.restart or step.since > now:
        # Counts are lost, or the clock was set back: the step is measured from here.
        return replace(desired, step=replace(step, since=now))
    return desired


def apply(desired: Desired, outcome: Outcome, now: int) -> Desired:
    """The desired state after a reconcile of it had ``outcome`` at ``now`` (ms)."""
    after = replace(
        desired,
        serving=_revision(desired, outcome.serving),
        live=_revision(desired, outcome.live),
    )
    if outcome.step_begun and after.step is not None:
        after = replace(after, step=replace(after.step, since=now))
    match outcome.transition:
        case Transition.ROLLS_BACK:
            assert after.live is not None
            back = _next(replace(after, target=after.live, since=now))
            return replace(back, step=None, rejected="")
        case Transition.FAILED:
            finished = outcome.status is Status.FINISHED
            return replace(_next(after), given_up=True, finished=finished)
        case Transition.COMPLETED:
            after = replace(after, step=None)
            keep_ms = desired.target.keep_former_ms
            if keep_ms and desired.live is not None:
                return replace(after, kept=Kept(desired.live, now + keep_ms))
        case _:
            pass
    return replace(after, kept=None) if _forgets_kept(after, outcome, now) else after


def _next(desired: Desired) -> Desired:
    """The generation of ``desired`` that follows, for a change of what is wanted."""
    return replace(desired, generation=desired.generation + 1)


def _aim_at(desired: Desired, target: RevisionTarget, now: int) -> Desired:
    """A new attempt at ``target``: nothing of an earlier one counts."""
    live = desired.live
    canary = bool(target.steps) and live is not None and live.number != target.number
    return replace(
        desired,
        target=target,
        since=now,
        given_up=False,
        finished=False,
        step=Step(target.steps[0]) if canary else None,
        rejected="",
    )


def _halt(desired: Desired, wanted: DesiredStatus, now: int) -> Desired:
    return replace(desired, wanted=wanted, since=now, given_up=False, finished=False, step=None)


def _forgets_kept(after: Desired, outcome: Outcome, now: int) -> bool:
    """Whether the kept revision need not be counted as taking room any more.

    While an update is under way its instances may be the target's, and be kept again later.
    """
    if after.kept is None or not outcome.former_gone:
        return False
    under_way = after.live is None or after.live.number != after.target.number
    return not under_way or outcome.ended or now >= after.kept.until


def _revision(desired: Desired, number: int | None) -> RevisionTarget | None:
    if number is None:
        return None
    known = (desired.target, desired.serving, desired.live)
    return next(r for r in known if r is not None and r.number == number)
