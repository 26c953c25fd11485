"""Which instances leave, and in what order; pure. They go only when the rest carries the load."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.domain.observed import Instance, Observed, Stage, VersionTarget
from modelyard.domain.scene import Scene
from modelyard.domain.starts import Missing, stable_count


def leavers(scene: Scene, wanted: Iterable[Missing]) -> tuple[str, ...]:
    """Ids of the instances to take out of traffic and drain."""
    if not scene.flips:
        going = [*_useless(scene), *_outlived(scene), *_making_room(scene, wanted)]
    else:
        going = [*_replaced(scene), *_removed(scene)]
    going += sorted(scene.former - scene.still_kept)
    return tuple(dict.fromkeys(going))


def _useless(scene: Scene) -> Iterable[str]:
    """Left over from an update that another one overtook: neither wanted nor carrying traffic."""
    serving = scene.desired.serving
    for instance in scene.present.instances:
        wanted = any(
            r is not None and r.makes(instance.model_id, instance.fingerprint)
            for r in (scene.target, serving)
        )
        carrying = (
            instance.stage is Stage.READY
            and instance.served_at is not None
            and serving is not None
            and serving.in_slot(serving.slot_of(instance)) is not None
        )
        if not wanted and not carrying and instance.stage is not Stage.DRAINING:
            yield instance.instance_id


def _outlived(scene: Scene) -> Iterable[str]:
    """What the serving revision was still letting go when an update overtook it.

    It goes as it would have gone then: it holds the room that the target's versions need.
    """
    serving = scene.desired.serving
    if serving is None:
        return
    for version in serving.versions:
        usable = scene.present.usable(serving, version)
        going = [
            i.instance_id
            for i in (
                *_by_age(i for i in usable if not version.made(i)),
                *_surplus(usable, version),
            )
            if not scene.target.makes(i.model_id, i.fingerprint)
            and i.instance_id not in scene.kept_by_target
        ]
        if scene.proven(version):
            yield from going[: max(0, len(usable) - version.needed)]


def _making_room(scene: Scene, wanted: Iterable[Missing]) -> Iterable[str]:
    """Serving instances that have no traffic, or less by a guard, where new ones need room."""
    serving = scene.desired.serving
    if serving is None or scene.target.keep_former_ms:
        return
    for item in wanted:
        before = scene.predecessor(item.version)
        if not item.room or before is None:
            continue
        stable = _by_age(scene.present.made(before, Stage.READY))
        usable = scene.present.usable(serving, before)
        ready = {*usable, *scene.own.made(item.version, Stage.READY)}
        if not before.weight:
            spare = len(ready) - max(before.needed, item.version.needed)
        elif scene.guarded:
            spare = min(len(stable) - stable_count(scene, before), len(ready) - item.version.needed)
        else:
            continue
        yield from (i.instance_id for i in stable[: max(0, min(item.room, spare))])


def _replaced(scene: Scene) -> Iterable[str]:
    """Instances made otherwise than wanted, and surplus ones, as far as enough others are ready.

    Outdated ones go first, the oldest of them at once; of surplus ones the youngest.
    """
    for version in scene.target.versions:
        alive = scene.own.alive(scene.target, version.slot)
        usable = scene.own.usable(scene.target, version)
        spare = len(usable) - version.needed
        outdated = _by_age(i for i in alive if not version.made(i))
        for instance in (*outdated, *_surplus(alive, version)):
            if instance not in usable:
                yield instance.instance_id
            elif spare > 0 and (version.made(instance) or scene.proven(version)):
                spare -= 1
                yield instance.instance_id


def _surplus(alive: Iterable[Instance], version: VersionTarget) -> list[Instance]:
    current = [i for i in alive if version.made(i)]
    by_usefulness = sorted(
        current, key=lambda i: (i.stage is Stage.READY, -i.created_at, i.instance_id)
    )
    return by_usefulness[: max(0, len(current) - version.count)]


def _removed(scene: Scene) -> Iterable[str]:
    """Instances of slots that the target has not, once all others can do without them."""
    target, own = scene.target, scene.own
    if all(_carried(scene, own, version) for version in target.versions):
        for instance in own.instances:
            gone = target.in_slot(target.slot_of(instance)) is None
            if gone and instance.stage is not Stage.DRAINING:
                yield instance.instance_id


def _carried(scene: Scene, own: Observed, version: VersionTarget) -> bool:
    return len(own.made(version, Stage.READY)) >= version.needed and scene.proven(version)


def _by_age(instances: Iterable[Instance]) -> list[Instance]:
    return sorted(instances, key=lambda i: (i.created_at, i.instance_id))
