"""What a pass means for the service and its update: statuses, revisions, events; pure.

Two facts that never stand for each other: the service's status (does it serve?) and the
update's result (did it get there?).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelyard.domain.rollout.planner import Plan, Verdict
from modelyard.domain.rollout.state import Desired, DesiredStatus, Observed, RevisionTarget, Stage
from modelyard.domain.service.lifecycle import Status


class Result(StrEnum):
    """``result`` of an update log (services.md §9.4)."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"


class Transition(StrEnum):
    """What happens to the wish after this pass."""

    CONTINUE = "goes on"
    COMPLETED = "arrived"
    ROLLS_BACK = "rolls back"
    FAILED = "gives up"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``serving`` and ``live`` are revision numbers; ``progress`` 0…100."""

    status: Status
    turn: Transition
    serving: int | None
    live: int | None
    progress: int
    cause: str = ""


def outcome(desired: Desired, observed: Observed, plan: Plan) -> Outcome:
    """Judge a plan whose split has been acknowledged."""
    observed = observed.without(plan.idle)
    serving = plan.split.revision if plan.split else None
    live = desired.live.number if desired.live else None
    progress = _progress(desired.target, observed)
    if desired.wanted is not DesiredStatus.RUNNING:
        ended = plan.verdict is Verdict.ENDED
        return Outcome(
            _leaving(desired.wanted, ended),
            Transition.ENDED if ended else Transition.CONTINUE,
            None,
            None,
            0,
        )
    if desired.given_up:
        status = Status.FINISHED if desired.finished else Status.FAILED
        return Outcome(status, Transition.CONTINUE, None, None, 0)
    if plan.verdict is Verdict.BROKEN:
        return _broken(desired, observed, plan)
    if plan.verdict is Verdict.LIVE:
        new = desired.live is None or desired.live.number != desired.target.number
        turn = Transition.COMPLETED if new else Transition.CONTINUE
        return Outcome(Status.RUNNING, turn, serving, desired.target.number, 100)
    status = _serving_status(_revision(desired, serving), observed)
    return Outcome(status, Transition.CONTINUE, serving, live, progress)


def _leaving(wanted: DesiredStatus, ended: bool) -> Status:
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
    wanted = sum(v.count for v in target.versions)
    ready = sum(min(v.count, len(observed.made(v, Stage.READY))) for v in target.versions)
    return 100 * ready // wanted if wanted else 0
