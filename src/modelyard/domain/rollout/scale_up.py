"""Which instances to start: what serves keeps its strength, what is new comes up by surge; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from modelyard.domain.rollout.backoff import not_before, proven_before
from modelyard.domain.rollout.canary_pairs import new_versions
from modelyard.domain.rollout.planning_state import PlanningState
from modelyard.domain.rollout.state import Instance, RevisionTarget, Stage, VersionTarget


@dataclass(frozen=True, slots=True)
class Start:
    revision: int
    model_id: str
    slot: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Instances of ``version`` that are to start. ``room``: how many more are wanted, but only
    when others of the slot make room.
    """

    revision: int
    version: VersionTarget
    count: int
    room: int = 0


def missing(planning: PlanningState) -> tuple[Missing, ...]:
    """What is to start now, the target's versions first, without regard to back-offs."""
    holding = holding_revision(planning)
    held = (
        {v.slot: _missing_held(planning, holding, v) for v in holding.versions} if holding else {}
    )
    found = [
        _missing_new(planning, holding, version, held.get(version.slot, 0))
        for version in planning.target.versions
    ]
    if holding is not None:
        found += [Missing(holding.number, v, held[v.slot]) for v in holding.versions]
    return tuple(found)


def planned_starts(
    planning: PlanningState, wanted: Iterable[Missing]
) -> tuple[tuple[Start, ...], int | None]:
    """The starts whose back-off is over, and when (ms) the next one's will be."""
    starts: list[Start] = []
    waits: list[int] = []
    for item in wanted:
        version, earliest = item.version, not_before(item.version, planning.seen)
        if item.count and earliest > planning.now:
            waits.append(earliest)
        else:
            start = Start(item.revision, version.model_id, version.slot, version.fingerprint)
            starts += [start] * item.count
    return tuple(starts), min(waits, default=None)


def holding_revision(planning: PlanningState) -> RevisionTarget | None:
    """The serving revision, as long as it must keep its strength for the target to come up."""
    return None if planning.cuts_over else planning.desired.serving


def stable_count(planning: PlanningState, version: VersionTarget) -> int:
    """Instances that a serving version needs: fewer when a guard moved traffic off its slot."""
    step = planning.desired.step
    if not planning.guarded or step is None or planning.target.in_slot(version.slot) is None:
        return version.count
    if planning.target.makes(version.model_id, version.fingerprint):
        return version.count
    return max(1, math.ceil(version.count * (100 - step.percent) / 100))


def wanted_count(planning: PlanningState, version: VersionTarget) -> int:
    """Instances that a version of the target needs now: fewer at the first steps of a guard."""
    step, serving = planning.desired.step, planning.desired.serving
    if not planning.guarded or step is None or serving is None:
        return version.count
    if version not in new_versions(serving, planning.target):
        return version.count
    return max(1, math.ceil(version.count * step.percent / 100))


def _missing_held(
    planning: PlanningState, holding: RevisionTarget | None, version: VersionTarget
) -> int:
    """What a serving version lacks that the target makes otherwise, or not at all."""
    if holding is None or planning.target.makes(version.model_id, version.fingerprint):
        return 0
    if not proven_before(version, planning.desired):
        return 0
    alive = planning.present.alive(holding, version.slot)
    if not version.weight:
        own = list(alive)
    elif planning.guarded:
        own = [i for i in alive if version.made(i)]
    else:
        own = [i for i in alive if version.made(i) or i.served_at is not None]
    # Leftovers of an overtaken update leave at once; until then there is no room for more, but for
    # one where nobody is left to serve.
    taken = {i.instance_id for i in (*alive, *_in_slot(planning, holding, version.slot))}
    room = _most(planning, holding, version.slot) - len(taken)
    if version.weight and not own:
        room = max(room, 1)
    return max(0, min(stable_count(planning, version) - len(own), room))


def _most(planning: PlanningState, holding: RevisionTarget | None, slot: str) -> int:
    """Instances that a slot may have while it changes."""
    versions = [v for r in (planning.target, holding) if r and (v := r.in_slot(slot))]
    return max(v.count for v in versions) + max(v.surge for v in versions)


def _missing_new(
    planning: PlanningState, holding: RevisionTarget | None, version: VersionTarget, held: int
) -> Missing:
    """What the target's version lacks, within its surge over what it replaces."""
    before = planning.predecessor(version) if holding else None
    alive = _in_slot(planning, holding, version.slot)
    current = [i for i in alive if version.made(i)]
    count = wanted_count(planning, version)
    if before is not None and before.fingerprint == version.fingerprint:
        count = max(count, before.count)
    lacking = max(0, count - len(current))
    allowed = lacking
    if len(alive) > len(current) or held:
        room = _most(planning, holding, version.slot) - len(alive) - held
        if planning.cuts_over and not current:
            # It died after it had taken over: the former ones leave only when there is another.
            room = max(room, 1)
        allowed = max(0, min(lacking, room))
    return Missing(planning.target.number, version, allowed, room=lacking - allowed)


def _in_slot(
    planning: PlanningState, holding: RevisionTarget | None, slot: str
) -> tuple[Instance, ...]:
    """Who takes up room in a slot of the target.

    What another slot of the serving revision has to do without does not, wherever the target
    will have its model.
    """
    return tuple(
        i
        for i in planning.own.alive(planning.target, slot)
        if holding is None
        or planning.target.makes(i.model_id, i.fingerprint)
        or holding.slot_of(i) == slot
    )


def in_strength(planning: PlanningState) -> bool:
    """Whether every new version has the instances that the present step wants of it."""
    serving = planning.desired.serving
    return serving is not None and all(
        len(planning.own.made(v, Stage.READY)) >= wanted_count(planning, v)
        for v in new_versions(serving, planning.target)
    )


def carried_percent(planning: PlanningState) -> int:
    """Percent of the traffic that the new versions' ready instances can take on the way to a step.

    Less than the step's while they are not in strength. So the first of them take part before the
    last have room.
    """
    serving = planning.desired.serving
    new = new_versions(serving, planning.target) if serving else ()
    return min((100 * len(planning.own.made(v, Stage.READY)) // v.count for v in new), default=0)
