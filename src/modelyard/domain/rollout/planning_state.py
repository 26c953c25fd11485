"""What every decision of one planning looks at, worked out once; pure.

Instances of a former revision that is kept loaded belong to nobody's strength: they are set
aside here, so that no rule has to think of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from modelyard.domain.rollout.backoff import proven_before
from modelyard.domain.rollout.canary_pairs import new_versions
from modelyard.domain.rollout.state import (
    Desired,
    Instance,
    Observed,
    RevisionTarget,
    Stage,
    VersionTarget,
)


@dataclass(frozen=True)
class PlanningState:
    """``now`` in ms."""

    desired: Desired
    seen: Observed
    now: int

    @property
    def target(self) -> RevisionTarget:
        return self.desired.target

    # -- who is set aside ------------------------------------------------------------------------

    @cached_property
    def former(self) -> frozenset[str]:
        return former_instances(self.desired, self.seen)

    @cached_property
    def present(self) -> Observed:
        """What the serving revision can count on."""
        return self.seen.without(self.former)

    @cached_property
    def kept_by_target(self) -> frozenset[str]:
        """Instances of the live revision that the target will keep loaded once it is reached.

        Those without whom it lacks strength, its own having died, carry traffic as long as it does.
        """
        live, serving = self.desired.live, self.desired.serving
        if not self.target.keep_former_ms or live is None or live.number == self.target.number:
            return frozenset()
        kept = [
            instance
            for version in live.versions
            if not self.target.makes(version.model_id, version.fingerprint)
            for instance in _oldest(self.present.made(version, Stage.READY), version.count)
        ]
        ids = frozenset(i.instance_id for i in kept)
        if serving is None or serving.number != self.target.number:
            return ids
        return ids - self._called_back(kept, self.present.without(ids))

    def _called_back(self, kept: list[Instance], rest: Observed) -> frozenset[str]:
        """Of ``kept`` the youngest, as many as the serving target lacks beside ``rest``.

        Only those that have carried traffic may carry it again.
        """
        back: list[str] = []
        for version in self.target.versions:
            lacking = version.needed - len(rest.usable(self.target, version))
            own = tuple(
                i
                for i in kept
                if self.target.slot_of(i) == version.slot and i.served_at is not None
            )
            stay = _oldest(own, max(0, len(own) - max(0, lacking)))
            back += [i.instance_id for i in own if i not in stay]
        return frozenset(back)

    @cached_property
    def own(self) -> Observed:
        """What the target can count on."""
        return self.present.without(self.kept_by_target)

    @cached_property
    def still_kept(self) -> frozenset[str]:
        """Those of ``former`` whose time is not over yet."""
        kept = self.desired.kept
        if kept is None or self.now >= kept.until:
            return frozenset()
        return frozenset(
            instance.instance_id
            for version in kept.revision.versions
            for instance in _oldest(self.seen.made(version, Stage.READY), version.count)
            if instance.instance_id in self.former
        )

    @cached_property
    def idle_now(self) -> frozenset[str]:
        """Instances that are loaded without traffic, before this plan."""
        serving = self.desired.serving
        if serving is not None and serving.number == self.target.number and self.kept_by_target:
            return self.kept_by_target
        ready = (i.instance_id for i in self.seen.instances if i.stage is Stage.READY)
        return self.former.intersection(ready)

    @property
    def idle(self) -> frozenset[str]:
        """Instances that stay loaded without traffic after this plan."""
        return self.kept_by_target if self.cuts_over and self.kept_by_target else self.still_kept

    # -- who may take over -----------------------------------------------------------------------

    @cached_property
    def cuts_over(self) -> bool:
        """Whether the target serves from now on: each of its versions can take its share."""
        serving = self.desired.serving
        if serving is not None and serving.number == self.target.number:
            return True
        if self.guarded:
            return False
        if self._rolls_back:
            return all(self._can_go_back(v) for v in self.target.versions if v.weight)
        return all(self._can_take_over(v) for v in self.target.versions)

    @property
    def _rolls_back(self) -> bool:
        live = self.desired.live
        return live is not None and live.number == self.target.number

    @cached_property
    def guarded(self) -> bool:
        """Whether a guard holds the target back: there is a step, and something to compare."""
        serving = self.desired.serving
        return (
            self.desired.step is not None
            and serving is not None
            and serving.number != self.target.number
            and bool(new_versions(serving, self.target))
        )

    def predecessor(self, version: VersionTarget) -> VersionTarget | None:
        """The serving version whose instances those of ``version`` replace one by one.

        None also where the model before it goes on in another slot, as it may when an update
        overtakes others or takes them back.
        """
        serving = self.desired.serving
        before = serving.in_slot(version.slot) if serving else None
        after = self.target.version(before.model_id) if before else None
        return None if after and after.slot != version.slot else before

    def _can_go_back(self, version: VersionTarget) -> bool:
        """Whether one is there of it, or of what serves: what was overtaken does not do instead."""
        serving = self.desired.serving
        return any(
            version.made(i) or (serving is not None and serving.makes(i.model_id, i.fingerprint))
            for i in self.own.usable(self.target, version)
        )

    def _can_take_over(self, version: VersionTarget) -> bool:
        """New and grown versions must be there in strength, replaced ones have come up once."""
        before = self.predecessor(version)
        serving = self.desired.serving
        own = len(self.own.made(version, Stage.READY))
        if before is None or serving is None:
            return own >= version.needed
        usable = len(self.own.usable(self.target, version))
        if before.fingerprint != version.fingerprint:
            return own >= 1 and usable >= version.needed
        if version.count > before.count:
            return own >= version.needed
        # Instances that are to be kept idle may carry the serving version until now.
        loses = usable < min(version.needed, len(self.present.usable(serving, before)))
        return not loses and (own >= 1 or version.weight <= before.weight)

    # -- what is proven --------------------------------------------------------------------------

    def proven(self, version: VersionTarget) -> bool:
        """Whether a version may be relied on: it was live, or has carried traffic for a while."""
        if self._was_live(version):
            return True
        if not self.desired.probation_ms or not version.weight:
            return True
        return any(
            i.served_at is not None
            and _steady_since(i, i.served_at) + self.desired.probation_ms <= self.now
            for i in self.own.made(version, Stage.READY)
        )

    def _was_live(self, version: VersionTarget) -> bool:
        """Whether it needs no probation: it is or was live (and is kept), or nothing is yet."""
        kept = self.desired.kept
        return (
            self.desired.live is None
            or proven_before(version, self.desired)
            or (kept is not None and kept.revision.makes(version.model_id, version.fingerprint))
        )

    def broke_on_probation(self, version: VersionTarget, instance: Instance) -> bool:
        """Whether it stopped being ready soon after it had got its first traffic."""
        if self._was_live(version):
            return False
        served_at = instance.served_at
        if served_at is None:
            return False
        # When it is noticed, its probation may be over; it has not stood it.
        return instance.since < served_at + self.desired.probation_ms or not self.proven(version)

    def proven_at(self) -> int | None:
        """When (ms) the next version of what serves will have proven itself, if all stays well."""
        serving = self.target if self.cuts_over else self.desired.serving
        ends = [
            (self.now if i.served_at is None else _steady_since(i, i.served_at))
            + self.desired.probation_ms
            for v in (serving.versions if serving else ())
            if not self.proven(v)
            for i in self.own.made(v, Stage.READY)
        ]
        return min(ends, default=None)


def former_instances(desired: Desired, observed: Observed) -> frozenset[str]:
    """Instances of the revision kept by an earlier update that no other revision uses."""
    kept = desired.kept
    if kept is None:
        return frozenset()
    used = [r for r in (desired.target, desired.serving) if r]
    return frozenset(
        i.instance_id
        for i in observed.instances
        if i.stage is not Stage.DRAINING
        and kept.revision.makes(i.model_id, i.fingerprint)
        and not any(r.makes(i.model_id, i.fingerprint) for r in used)
    )


def _steady_since(instance: Instance, served_at: int) -> int:
    """Since when (ms) a ready instance carries traffic without a break."""
    return max(instance.since, served_at)


def _oldest(instances: Sequence[Instance], count: int) -> list[Instance]:
    return sorted(instances, key=lambda i: (i.created_at, i.instance_id))[:count]
