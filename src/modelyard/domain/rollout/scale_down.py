"""Which instances leave, and in what order; pure. They go only when the rest carries the load."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from modelyard.domain.rollout.planning_state import PlanningState
from modelyard.domain.rollout.scale_up import Missing, stable_count
from modelyard.domain.rollout.state import Instance, Observed, Stage, VersionTarget


def leavers(planning: PlanningState, wanted: Iterable[Missing]) -> tuple[str, ...]:
    """Ids of the instances to take out of traffic and drain."""
    if not planning.cuts_over:
        going = [*_useless(planning), *_relieved(planning, wanted)]
    else:
        going = [*_replaced(planning), *_removed(planning)]
    going += sorted(planning.former - planning.still_kept)
    return tuple(dict.fromkeys(going))


def _useless(planning: PlanningState) -> Iterable[str]:
    """Left over from an update that another one overtook: neither wanted nor carrying traffic."""
    serving = planning.desired.serving
    for instance in planning.present.instances:
        wanted = any(
            r is not None and r.makes(instance.model_id, instance.fingerprint)
            for r in (planning.target, serving)
        )
        carrying = (
            instance.stage is Stage.READY
            and instance.served_at is not None
            and serving is not None
            and serving.in_slot(serving.slot_of(instance)) is not None
        )
        if not wanted and not carrying and instance.stage is not Stage.DRAINING:
            yield instance.instance_id


def _relieved(planning: PlanningState, wanted: Iterable[Missing]) -> Iterable[str]:
    """Instances of serving versions that are in the way of the target's, as far as others carry on.

    First what an overtaken update was letting go anyway, then those that have no traffic, or less
    by a guard.
    """
    new = (item for item in wanted if item.revision == planning.target.number)
    followers = {planning.predecessor(item.version): item for item in new}
    serving = planning.desired.serving
    if serving is None:
        return
    for version in serving.versions:
        usable = planning.present.usable(serving, version)
        follower = followers.get(version)
        going = _outlived(planning, version, usable)
        if follower is not None:
            going += _making_room(planning, version, follower)[len(going) :]
        yield from going[: max(0, _spare(planning, version, usable, follower))]


def _spare(
    planning: PlanningState,
    version: VersionTarget,
    usable: Iterable[Instance],
    follower: Missing | None,
) -> int:
    """How many of a serving version's instances can leave before the target takes over."""
    rest = set(usable)
    if follower is None:
        return len(rest) - version.needed
    followers = planning.own.made(follower.version, Stage.READY)
    if not version.weight:
        rest.update(followers)
    elif planning.guarded:
        # They carry its traffic already, also where their model has another slot until now.
        rest.update(i for i in followers if i.served_at is not None)
    return len(rest) - max(version.needed, follower.version.needed)


def _outlived(
    planning: PlanningState, version: VersionTarget, usable: Collection[Instance]
) -> list[str]:
    """What the serving version was still letting go when an update overtook it."""
    going = (*_by_age(i for i in usable if not version.made(i)), *_surplus(usable, version))
    return [
        i.instance_id
        for i in going
        if planning.proven(version)
        and not planning.target.makes(i.model_id, i.fingerprint)
        and i.instance_id not in planning.kept_by_target
    ]


def _making_room(planning: PlanningState, version: VersionTarget, follower: Missing) -> list[str]:
    """The oldest of a serving version whose traffic has moved, or that has none."""
    if version.weight and not planning.guarded:
        return []
    stable = _by_age(planning.own.made(version, Stage.READY))
    needless = len(stable) - (stable_count(planning, version) if version.weight else 0)
    return [i.instance_id for i in stable[: max(0, min(follower.room, needless))]]


def _replaced(planning: PlanningState) -> Iterable[str]:
    """Instances made otherwise than wanted, and surplus ones, as far as enough others are ready.

    Outdated ones go first: those that an update was overtaken with, then the oldest. Of surplus
    ones the youngest.
    """
    serving = planning.desired.serving
    for version in planning.target.versions:
        alive = planning.own.alive(planning.target, version.slot)
        usable = planning.own.usable(planning.target, version)
        spare = len(usable) - version.needed
        outdated = sorted(
            _by_age(i for i in alive if not version.made(i)),
            key=lambda i: serving is not None and serving.makes(i.model_id, i.fingerprint),
        )
        for instance in (*outdated, *_surplus(alive, version)):
            if instance not in usable:
                yield instance.instance_id
            elif spare > 0 and (version.made(instance) or planning.proven(version)):
                spare -= 1
                yield instance.instance_id


def _surplus(alive: Iterable[Instance], version: VersionTarget) -> list[Instance]:
    current = [i for i in alive if version.made(i)]
    by_usefulness = sorted(
        current, key=lambda i: (i.stage is Stage.READY, -i.created_at, i.instance_id)
    )
    return by_usefulness[: max(0, len(current) - version.count)]


def _removed(planning: PlanningState) -> Iterable[str]:
    """Instances of slots that the target has not, once all others can do without them."""
    target, own = planning.target, planning.own
    if all(_carried(planning, own, version) for version in target.versions):
        for instance in own.instances:
            gone = target.in_slot(target.slot_of(instance)) is None
            if gone and instance.stage is not Stage.DRAINING:
                yield instance.instance_id


def _carried(planning: PlanningState, own: Observed, version: VersionTarget) -> bool:
    return len(own.made(version, Stage.READY)) >= version.needed and planning.proven(version)


def _by_age(instances: Iterable[Instance]) -> list[Instance]:
    return sorted(instances, key=lambda i: (i.created_at, i.instance_id))
