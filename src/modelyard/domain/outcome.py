"""What a pass means for the service and its update: statuses, revisions, events; pure.

Two facts that never stand for each other: the service's status (does it serve?) and the
update's result (did it get there?).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelyard.domain.lifecycle import Status
from modelyard.domain.observed import Desired, Observed, RevisionTarget, Stage, Wanted
from modelyard.domain.planner import Plan, Verdict


class Result(StrEnum):
    """``result`` of an update log (services.md §9.4)."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"


class Turn(StrEnum):
    """What happens to the wish after this pass."""

    GOES_ON = "goes on"
    ARRIVED = "arrived"
    ROLLS_BACK = "rolls back"
    GIVES_UP = "gives up"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``serving`` and ``live`` are revision numbers; ``progress`` 0…100."""

    status: Status
    turn: Turn
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
    if desired.wanted is not Wanted.RUNNING:
        ended = plan.verdict is Verdict.ENDED
        return Outcome(
            _leaving(desired.wanted, ended),
            Turn.ENDED if ended else Turn.GOES_ON,
            None,
            None,
            0,
        )
    if desired.given_up:
        status = Status.FINISHED if desired.finished else Status.FAILED
        return Outcome(status, Turn.GOES_ON, None, None, 0)
    if plan.verdict is Verdict.BROKEN:
        return _broken(desired, observed, plan)
    if plan.verdict is Verdict.LIVE:
        new = desired.live is None or desired.live.number != desired.target.number
        turn = Turn.ARRIVED if new else Turn.GOES_ON
        return Outcome(Status.RUNNING, turn, serving, desired.target.number, 100)
    status = _serving_status(_revision(desired, serving), observed)
    return Outcome(status, Turn.GOES_ON, serving, live, progress)


def _leaving(wanted: Wanted, ended: bool) -> Status:
    if wanted is Wanted.DELETED:
        return Status.DELETING
    return Status.STOPPED if ended else Status.STOPPING


def _broken(desired: Desired, observed: Observed, plan: Plan) -> Outcome:
    if desired.live is None or desired.live.number == desired.target.number:
        return Outcome(Status.FAILED, Turn.GIVES_UP, None, None, 0, plan.cause)
    serving = desired.serving.number if desired.serving else None
    status = _serving_status(desired.serving, observed)
    return Outcome(status, Turn.ROLLS_BACK, serving, desired.live.number, 0, plan.cause)


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
