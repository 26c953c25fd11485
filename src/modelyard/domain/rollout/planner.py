"""``plan(desired, observed, now) -> Plan``: the next actions for one service; pure.

Traffic moves to a revision when each of its versions can take its share, by steps if a guard
watches over it; until then the serving revision keeps all of it. Instances leave only after the
split without them is in force, which is why a plan's parts are carried out in the order of its
fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from modelyard.domain.rollout.backoff import rollout_failure
from modelyard.domain.rollout.planning_state import PlanningState
from modelyard.domain.rollout.scale_down import leavers
from modelyard.domain.rollout.scale_up import (
    Start,
    carried_percent,
    in_strength,
    missing,
    planned_starts,
)
from modelyard.domain.rollout.state import (
    Desired,
    DesiredStatus,
    Instance,
    Observed,
    Stage,
    VersionTarget,
)
from modelyard.domain.rollout.traffic_split import Split, blend, split_of

POLL_MS = 50
DRAIN_POLL_MS = 500
GUARD_POLL_MS = 1_000
PROBATION_POLL_MS = 250
"""A worker that breaks down tells nobody; the sooner it is seen, the fewer predictions it costs."""
KILL_MARGIN_MS = 2_000
"""What a draining instance gets beyond its grace before it is killed."""


class Verdict(StrEnum):
    """How far the desired state is reached."""

    PROGRESSING = "progressing"
    LIVE = "live"
    BROKEN = "broken"
    """The target cannot be reached; ``Plan.cause`` says why."""
    ENDED = "ended"
    """Stopped or deleted, and nothing is left running."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End an instance now. ``failed``: it counts as a failed start, not as a finished drain."""

    instance_id: str
    reason: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in the order of the fields; ``check_at`` (ms) is when to look again.

    ``split`` None: the service answers that it is not started. ``percent``: the share of a
    guarded target that the split gives it; None outside of guarded rollouts. ``idle``: instances
    that stay loaded without traffic; ``reserve``: those of them that are called back should the
    target, which serves, lack strength before it has proven itself.
    """

    starts: tuple[Start, ...] = ()
    split: Split | None = None
    retire: tuple[str, ...] = ()
    kills: tuple[Kill, ...] = ()
    verdict: Verdict = Verdict.PROGRESSING
    cause: str = ""
    check_at: int | None = None
    percent: int | None = None
    idle: frozenset[str] = frozenset()
    reserve: frozenset[str] = frozenset()


def plan(desired: Desired, observed: Observed, now: int) -> Plan:
    """The next actions that bring ``observed`` nearer to ``desired`` at ``now`` (ms)."""
    planning = PlanningState(desired, observed, now)
    if desired.wanted is not DesiredStatus.RUNNING or desired.given_up:
        return _wind_down(planning)
    cause = rollout_failure(desired, observed)
    if cause:
        split = present_split(desired, observed, now)
        return Plan(split=split, verdict=Verdict.BROKEN, cause=cause, idle=planning.idle_now)
    return _advance(planning)


def present_split(desired: Desired, observed: Observed, now: int) -> Split | None:
    """The split that was in force when ``observed`` was, for a gateway that has to be told again.

    Nothing moves by it: what is due to change changes with the next plan.
    """
    planning = PlanningState(desired, observed, now)
    step, serving = desired.step, desired.serving
    percent = (step.percent if step.begun else step.before) if step else 0
    if planning.guarded and percent and serving:
        return blend(serving, desired.target, planning.present, percent)
    known = observed.without(planning.former - planning.idle_now)
    return split_of(serving, known, idle=planning.idle_now)


def _wind_down(planning: PlanningState) -> Plan:
    instances = planning.seen.instances
    retire = tuple(i.instance_id for i in instances if i.stage is not Stage.DRAINING)
    return Plan(
        retire=retire,
        kills=tuple(_overdue_drains(planning)),
        verdict=Verdict.PROGRESSING if instances else Verdict.ENDED,
        check_at=planning.now + (POLL_MS if retire else DRAIN_POLL_MS) if instances else None,
    )


def _advance(planning: PlanningState) -> Plan:
    wanted = missing(planning)
    starts, waiting_until = planned_starts(planning, wanted)
    retire = leavers(planning, wanted)
    live = planning.cuts_over and _complete(planning, retire)
    if live and planning.kept_by_target:
        # One former revision at a time: the one kept before makes way for this one.
        retire = tuple(dict.fromkeys((*retire, *sorted(planning.former))))
    percent = _percent(planning)
    split = _split(planning, retire, percent)
    return Plan(
        starts=starts,
        split=split,
        retire=retire,
        kills=(*_stumbled(planning), *_overdue_starts(planning), *_overdue_drains(planning)),
        verdict=Verdict.LIVE if live else Verdict.PROGRESSING,
        check_at=_check_at(planning, bool(starts or retire), split, waiting_until),
        percent=percent,
        idle=planning.idle,
        reserve=frozenset() if live or not planning.cuts_over else planning.kept_by_target,
    )


def _percent(planning: PlanningState) -> int | None:
    step = planning.desired.step
    if not planning.guarded or step is None:
        return None
    if step.begun or in_strength(planning):
        return step.percent
    return max(step.before, carried_percent(planning))


def _split(planning: PlanningState, retire: tuple[str, ...], percent: int | None) -> Split | None:
    serving = planning.desired.serving
    if percent and serving:
        return blend(serving, planning.target, planning.present, percent, retire)
    # Idle instances are nobody's strength, but the gateway shall know them.
    known = planning.seen.without(planning.former - planning.idle)
    return split_of(
        planning.target if planning.cuts_over else serving, known, retire, planning.idle
    )


# -- who has had his time -----------------------------------------------------------------------


def _stumbled(planning: PlanningState) -> Iterable[Kill]:
    """New instances that broke down under the first traffic they got: they are not repaired."""
    for version in planning.target.versions:
        for instance in planning.own.made(version, Stage.STARTING):
            if planning.broke_on_probation(version, instance):
                yield Kill(instance.instance_id, "it broke down under its first traffic", True)


def _overdue_starts(planning: PlanningState) -> Iterable[Kill]:
    stumbled = {kill.instance_id for kill in _stumbled(planning)}
    for instance in planning.seen.instances:
        version = _wanted_version(planning.desired, instance)
        if version is None or instance.stage is not Stage.STARTING:
            continue
        if instance.instance_id in stumbled:
            continue
        if planning.now - instance.since > version.start_timeout_ms:
            seconds = version.start_timeout_ms // 1000
            yield Kill(instance.instance_id, f"not ready within {seconds} s", failed=True)


def _overdue_drains(planning: PlanningState) -> Iterable[Kill]:
    for instance in planning.seen.instances:
        if instance.stage is not Stage.DRAINING:
            continue
        if planning.now - instance.since > instance.grace_ms + KILL_MARGIN_MS:
            seconds = instance.grace_ms // 1000
            yield Kill(instance.instance_id, f"still busy after {seconds} s", failed=False)


def _wanted_version(desired: Desired, instance: Instance) -> VersionTarget | None:
    for revision in (desired.target, desired.serving):
        version = revision.version(instance.model_id) if revision else None
        if version and version.made(instance):
            return version
    return None


# -- how far it has come ------------------------------------------------------------------------


def _complete(planning: PlanningState, leaving: tuple[str, ...]) -> bool:
    """Whether all that runs is what the target wants, ready and proven."""
    staying = [
        i
        for i in planning.own.instances
        if i.stage is not Stage.DRAINING and i.instance_id not in leaving
    ]
    versions = planning.target.versions
    return len(staying) == sum(v.count for v in versions) and all(
        sum(1 for i in staying if v.made(i) and i.stage is Stage.READY) == v.count
        and planning.proven(v)
        for v in versions
    )


def _check_at(
    planning: PlanningState, moving: bool, split: Split | None, waiting_until: int | None
) -> int | None:
    stages = {i.stage for i in planning.seen.instances}
    if moving or Stage.STARTING in stages or _proves_more(planning, split):
        return planning.now + POLL_MS
    kept, proven_at = planning.desired.kept, planning.proven_at()
    moments = [
        # The runtime says when a process ends; this is only lest it be missed.
        planning.now + DRAIN_POLL_MS if Stage.DRAINING in stages else None,
        waiting_until,
        proven_at,
        planning.now + PROBATION_POLL_MS if proven_at is not None else None,
        kept.until if kept and planning.former else None,
        planning.now + GUARD_POLL_MS if planning.guarded else None,
    ]
    return min((at for at in moments if at is not None), default=None)


def _proves_more(planning: PlanningState, split: Split | None) -> bool:
    """Whether somebody gets traffic for the first time, and may do more from then on."""
    return split is not None and any(
        i.served_at is None and split.carries(i.instance_id) for i in planning.seen.instances
    )
