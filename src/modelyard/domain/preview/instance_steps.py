"""What becomes of each instance when a change goes ahead, and why; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from modelyard.domain.preview.change import PlannedChange
from modelyard.domain.preview.simulation import Moment, Started
from modelyard.domain.rollout.state import Desired, DesiredStatus, Instance, RevisionTarget, Stage
from modelyard.domain.rollout.traffic_split import Split


class Action(StrEnum):
    """What happens to an instance; in the order in which simultaneous ones are told."""

    KEPT = "kept"
    STARTED = "started"
    LOADED = "kept loaded"
    DRAINED = "drained"
    STOPPED = "stopped"


class Cause(StrEnum):
    """Why it happens."""

    STAYS = "nothing about it changes"
    COMES_UP = "it is starting already"
    LOADED_ALREADY = "it is loaded already and takes over"
    SERVICE_STARTS = "the service starts"
    NEW_VERSION = "its version is new in the service"
    MORE = "more instances of its version are wanted"
    REPLACES = "it replaces one of the version that leaves"
    REMADE = "it replaces one that is made otherwise"
    MISSING = "one that is wanted is missing"
    GOING_BACK = "going back to its revision is immediate meanwhile"
    SERVICE_STOPS = "the service stops"
    FEWER = "fewer instances of its version are wanted"
    SUCCEEDED = "its successor has taken over"
    VERSION_GONE = "its version leaves the service"
    OVERTAKEN = "it was started for an update that this one overtakes"
    TIME_OVER = "the time for which it stays loaded is over"
    MAKES_WAY = "another former revision is kept from now on"
    NOT_IN_TIME = "it is not ready in time"
    ROLLED_BACK = "the update is rolled back"
    LEAVING = "it was leaving already"
    GIVEN_UP = "the service has failed"


@dataclass(frozen=True, slots=True)
class Act:
    """``at``: ms from now; ``until``: the end of staying loaded, if it is known. ``revision``: that
    the instance was, or will be, started for.
    """

    instance_id: str
    model_id: str
    revision: int | None
    action: Action
    cause: Cause
    at: int = 0
    until: int | None = None


def acts(case: PlannedChange) -> tuple[Act, ...]:
    """Everything that happens, in order; instances that stay come first."""
    found = [*_staying(case), *_starting(case), *_loaded(case), *_leaving(case)]
    order = list(Action)
    return tuple(
        sorted(found, key=lambda a: (a.action is not Action.KEPT, a.at, order.index(a.action)))
    )


# -- who stays ----------------------------------------------------------------------------------


def _staying(case: PlannedChange) -> Iterator[Act]:
    last = {i.instance_id: i for i in case.trace.moments[-1].alive}
    idle = _idle(case)
    for instance in case.observed.instances:
        stays = last.get(instance.instance_id)
        if stays is None or stays.stage is Stage.DRAINING:
            continue
        if instance.instance_id in idle and stays.served_at in (None, instance.served_at):
            continue
        cause = Cause.STAYS
        if instance.stage is Stage.STARTING:
            cause = Cause.COMES_UP
        elif _takes_over(case, instance):
            cause = Cause.LOADED_ALREADY
        yield _act(case, instance, Action.KEPT, cause)


def _takes_over(case: PlannedChange, instance: Instance) -> bool:
    """Whether it only stayed loaded so far, and carries traffic in the end."""
    kept = case.before.kept
    making = (instance.model_id, instance.fingerprint)
    serving = case.before.serving
    return (
        kept is not None
        and kept.revision.makes(*making)
        and not (serving is not None and serving.makes(*making))
        and case.after.target.makes(*making)
    )


def _loaded(case: PlannedChange) -> Iterator[Act]:
    there = {i.instance_id: i for moment in case.trace.moments for i in moment.alive}
    for instance_id, (since, until) in _idle(case).items():
        act = _act(case, there[instance_id], Action.LOADED, Cause.GOING_BACK, since)
        yield Act(act.instance_id, act.model_id, act.revision, act.action, act.cause, since, until)


def _idle(case: PlannedChange) -> dict[str, tuple[int, int | None]]:
    """Since when and until when (ms from now) instances stay loaded without traffic."""
    spans: dict[str, tuple[int, int | None]] = {}
    for moment in case.trace.moments:
        for instance_id in sorted(moment.idle):
            spans.setdefault(instance_id, (moment.at, None))
        for instance_id, (since, until) in spans.items():
            serves = moment.split is not None and _has_traffic(moment.split, instance_id)
            if until is None and (serves or instance_id in moment.drains):
                spans[instance_id] = (since, moment.at)
    return spans


def _has_traffic(split: Split, instance_id: str) -> bool:
    return any(share.weight and instance_id in share.endpoints for share in split.shares)


# -- who starts ---------------------------------------------------------------------------------


def _starting(case: PlannedChange) -> Iterator[Act]:
    for moment in case.trace.moments:
        for start in moment.starts:
            cause = _why_started(case, moment, start)
            yield Act(
                start.instance_id,
                start.model_id,
                start.revision,
                Action.STARTED,
                cause,
                moment.at,
            )


def _why_started(case: PlannedChange, moment: Moment, start: Started) -> Cause:
    target, serving = case.after.target, case.after.serving
    if moment.target != target.number:
        return Cause.ROLLED_BACK
    if serving is None:
        return Cause.SERVICE_STARTS
    version = target.version(start.model_id)
    if start.revision != target.number or version is None:
        return Cause.MISSING
    same = serving.version(start.model_id)
    if same is not None and same.fingerprint == start.fingerprint:
        return Cause.MORE if version.count > same.count else Cause.MISSING
    if same is not None:
        return Cause.REMADE
    return Cause.REPLACES if serving.in_slot(start.slot) else Cause.NEW_VERSION


# -- who leaves ---------------------------------------------------------------------------------


def _leaving(case: PlannedChange) -> Iterator[Act]:
    before = {i.instance_id: i for i in case.observed.instances}
    loaded = loaded_now(case)
    yield from (
        _act(case, i, Action.STOPPED, Cause.LEAVING)
        for i in before.values()
        if i.stage is Stage.DRAINING
    )
    for moment in case.trace.moments:
        there = before | {i.instance_id: i for i in moment.alive}
        for instance_id in moment.drains:
            instance = before.get(instance_id, there[instance_id])
            unused = instance_id in loaded
            carried = instance.served_at is not None and not unused
            action = Action.DRAINED if carried else Action.STOPPED
            cause = _why_idle_left(case, moment) if unused else _why_left(case, moment, instance)
            yield _act(case, instance, action, cause, moment.at)
        for instance_id in moment.killed:
            yield _act(case, there[instance_id], Action.STOPPED, Cause.NOT_IN_TIME, moment.at)
        before, loaded = there, _still_loaded(loaded | moment.idle, moment)


def _still_loaded(loaded: frozenset[str], moment: Moment) -> frozenset[str]:
    split = moment.split
    return frozenset(i for i in loaded if split is None or not _has_traffic(split, i))


def loaded_now(case: PlannedChange) -> frozenset[str]:
    """Instances that stay loaded already before the change."""
    kept, serving = case.before.kept, case.before.serving
    if kept is None:
        return frozenset()
    return frozenset(
        i.instance_id
        for i in case.observed.instances
        if kept.revision.makes(i.model_id, i.fingerprint)
        and not (serving and serving.makes(i.model_id, i.fingerprint))
    )


def _why_idle_left(case: PlannedChange, moment: Moment) -> Cause:
    if case.after.wanted is not DesiredStatus.RUNNING:
        return Cause.SERVICE_STOPS
    kept = case.before.kept
    early = kept is not None and case.now + moment.at < kept.until
    return Cause.MAKES_WAY if early and moment.idle else Cause.TIME_OVER


def _why_left(case: PlannedChange, moment: Moment, instance: Instance) -> Cause:
    after, target = case.after, case.after.target
    if after.wanted is not DesiredStatus.RUNNING:
        return Cause.SERVICE_STOPS
    if after.given_up or moment.target != target.number:
        return Cause.GIVEN_UP if after.given_up else Cause.ROLLED_BACK
    if target.makes(instance.model_id, instance.fingerprint):
        return Cause.FEWER
    if instance.served_at is None and not _serves(after, instance):
        return Cause.OVERTAKEN
    return _why_replaced(target, instance)


def _serves(desired: Desired, instance: Instance) -> bool:
    serving = desired.serving
    return serving is not None and serving.makes(instance.model_id, instance.fingerprint)


def _why_replaced(target: RevisionTarget, instance: Instance) -> Cause:
    if target.in_slot(target.slot_of(instance)) is None:
        return Cause.VERSION_GONE
    return Cause.SUCCEEDED


def _act(case: PlannedChange, instance: Instance, action: Action, cause: Cause, at: int = 0) -> Act:
    number = case.started_for.get(instance.instance_id)
    if number is None:
        number = next(
            (s.revision for s in case.trace.starts if s.instance_id == instance.instance_id), None
        )
    return Act(instance.instance_id, instance.model_id, number, action, cause, at)
