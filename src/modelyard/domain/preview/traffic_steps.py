"""How traffic moves when a change goes ahead; pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from modelyard.domain.preview.change import PlannedChange
from modelyard.domain.preview.simulation import Moment
from modelyard.domain.rollout.planner import present_split
from modelyard.domain.rollout.planning_state import PlanningState
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.rollout.traffic_split import Share, Split


@dataclass(frozen=True, slots=True)
class Part:
    """What one version gets: ``weight`` percent, on so many instances; its answers carry
    ``revision``.
    """

    model_id: str
    weight: int
    instances: int
    revision: int
    shadow: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """From ``at`` ms on the traffic is split like this; ``revision`` None: nothing answers."""

    at: int
    revision: int | None
    parts: tuple[Part, ...]
    why: str


def moves(case: PlannedChange) -> tuple[Move, ...]:
    """The split now, and every other one that follows."""
    idle = PlanningState(case.before, case.observed, case.now).idle if _runs(case) else frozenset()
    split = present_split(case.before, case.observed, case.now) if _runs(case) else None
    found = [_move(0, split, idle, "as it is now")]
    percent: int | None = None
    for moment in case.trace.moments:
        before = found[-1]
        move = _move(moment.at, moment.split, moment.idle, "")
        if (move.revision, move.parts) != (before.revision, before.parts):
            why = _why(case, moment, before, move, percent)
            found.append(Move(move.at, move.revision, move.parts, why))
        percent = moment.percent
    return tuple(found)


def _runs(case: PlannedChange) -> bool:
    return case.before.wanted is DesiredStatus.RUNNING and not case.before.given_up


def _move(at: int, split: Split | None, idle: Collection[str], why: str) -> Move:
    if split is None:
        return Move(at, None, (), why)
    parts = tuple(
        Part(
            share.model_id,
            share.weight,
            len(share.endpoints),
            split.revision if share.revision is None else share.revision,
            share.shadow,
        )
        for share in split.shares
        if not _only_loaded(share, idle)
    )
    return Move(at, split.revision, parts, why)


def _only_loaded(share: Share, idle: Collection[str]) -> bool:
    return not share.weight and bool(share.endpoints) and set(share.endpoints) <= set(idle)


def _why(case: PlannedChange, moment: Moment, before: Move, move: Move, percent: int | None) -> str:
    if move.revision is None:
        stops = case.after.wanted is not DesiredStatus.RUNNING
        return "the service stops" if stops else "nothing can answer"
    steps = case.guard.steps if case.guard else ()
    if moment.percent in steps and moment.percent != percent:
        where = f"step {steps.index(moment.percent) + 1} of {len(steps)}"
        return f"{where}: {moment.percent} % go by revision {moment.target}"
    if before.revision is None:
        return f"revision {move.revision} serves: its instances are ready"
    if move.revision != before.revision:
        at_once = "at once" if moment.at == 0 else "its instances are ready"
        return f"revision {move.revision} takes over: {at_once}"
    if [p.weight for p in move.parts] != [p.weight for p in before.parts]:
        return "weights follow the instances that are ready"
    return "instances join or leave"
