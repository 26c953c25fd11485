"""What an executed plan means for the service and its update; pure.

Two facts never stand for each other: the service's status (does it serve?) and the update's
result (did it get there?).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from modelyard.domain.rollout.planner import Plan, Verdict
from modelyard.domain.rollout.planning_state import former_instances
from modelyard.domain.rollout.state import Desired, DesiredStatus, Observed, RevisionTarget, Stage
from modelyard.domain.service.lifecycle import Status


class Result(StrEnum):
    """``result`` of an update log (services.md §9.4)."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"


class Transition(StrEnum):
    """What an outcome means for the update to the target."""

    CONTINUE = "continues"
    COMPLETED = "completed"
    ROLLS_BACK = "rolls back"
    FAILED = "failed"
    ENDED = "ended"
    """A service that is to be stopped or deleted has no instance left."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one reconcile, for ``transition.apply``.

    ``serving`` and ``live`` are revision numbers; ``progress`` is 0…100. ``step_begun``: the split
    of the canary step is in force now. ``former_gone``: no instance of the kept revision is loaded
    any more; ``ended``: no instance at all.
    """

    status: Status
    transition: Transition
    serving: int | None
    live: int | None
    progress: int
    cause: str = ""
    step_begun: bool = False
    former_gone: bool = False
    ended: bool = False


def outcome(desired: Desired, observed: Observed, plan: Plan) -> Outcome:
    """Evaluate ``plan``, made for ``desired`` and ``observed``, once its split is acknowledged."""
    step = desired.step
    return replace(
        _evaluate(desired, observed.without(plan.idle), plan),
        step_begun=step is not None and not step.begun and plan.percent == step.percent,
        former_gone=desired.kept is not None and not former_instances(desired, observed),
        ended=plan.verdict is Verdict.ENDED,
    )


def run_outcome(desired: Desired, *, finished: bool, reason: str) -> Outcome:
    """The outcome of a batch run that is over; the service waits for its caller."""
    return Outcome(
        Status.FINISHED if finished else Status.FAILED,
        Transition.FAILED,
        desired.serving.number if desired.serving else None,
        desired.live.number if desired.live else None,
        0,
        reason,
    )


def _evaluate(desired: Desired, observed: Observed, plan: Plan) -> Outcome:
    serving = plan.split.revision if plan.split else None
    live = desired.live.number if desired.live else None
    progress = _progress(desired.target, observed)
    if desired.wanted is not DesiredStatus.RUNNING:
        ended = plan.verdict is Verdict.ENDED
        status = _winding_down(desired.wanted, ended)
        transition = Transition.ENDED if ended else Transition.CONTINUE
        return Outcome(status, transition, None, None, 0)
    if desired.given_up:
        status = Status.FINISHED if desired.finished else Status.FAILED
        return Outcome(status, Transition.CONTINUE, None, None, 0)
    if plan.verdict is Verdict.BROKEN:
        return _broken(desired, observed, plan)
    if plan.verdict is Verdict.LIVE:
        new = desired.live is None or desired.live.number != desired.target.number
        transition = Transition.COMPLETED if new else Transition.CONTINUE
        return Outcome(Status.RUNNING, transition, serving, desired.target.number, 100)
    status = _serving_status(_revision(desired, serving), observed)
    return Outcome(status, Transition.CONTINUE, serving, live, progress)


def _winding_down(wanted: DesiredStatus, ended: bool) -> Status:
    if wanted is DesiredStatus.DELETED:
        return Status.DELETING
    return Status.STOPPED if ended else Status.STOPPING


def _broken(desired: Desired, observed: Observed, plan: Plan) -> Outcome:
    if desired.live is None or desired.live.number == desired.target.number:
        return Outcome(Status.FAILED, Transition.FAILED, None, None, 0, plan.cause)
    serving = desired.serving.number if desired.serving else None
    status = _serving_status(desired.serving, observed)
    return Outcome(status, Transition.ROLLS_BACK, serving, desired.live.number, 0, plan.cause)


def _revision(desired: Desired, number: int | None) -> RevisionTarget | None:
    known = (desired.target, desired.serving, desired.live)
    return next((r for r in known if r and r.number == number), None)


def _serving_status(serving: RevisionTarget | None, observed: Observed) -> Status:
    if serving is None:
        return Status.DEPLOYING
    short = any(len(observed.usable(serving, v)) < v.needed for v in serving.versions)
    return Status.CONCERNING if short else Status.RUNNING


def _progress(target: RevisionTarget, observed: Observed) -> int:
    needed = sum(v.count for v in target.versions)
    ready = sum(min(v.count, len(observed.made(v, Stage.READY))) for v in target.versions)
    return 100 * ready // needed if needed else 0
