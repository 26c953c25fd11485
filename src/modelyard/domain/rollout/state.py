"""The values the planner works on: the desired state and the observed one."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.rollout_policy import Rollout


class Stage(StrEnum):
    """Where an instance is in its life.

    ``STARTING`` until it answers its readiness check; ``READY`` may carry traffic; ``DRAINING``
    was taken out of traffic and finishes what it has.
    """

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Instance:
    """One living instance. Times in ms since 1970. ``since`` is when its stage began.

    ``slot`` is the one it was started for. ``grace_ms`` bounds its drain. ``served_at``: since
    when it carries traffic, or is in reserve after it did; None: it carries none.
    """

    instance_id: str
    model_id: str
    slot: str
    fingerprint: str
    stage: Stage
    created_at: int
    since: int
    grace_ms: int = 60_000
    served_at: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance that ended without being asked to.

    ``decisive``: trying again would change nothing, for instance a start that took too long.
    """

    fingerprint: str
    at: int
    message: str
    decisive: bool = False


@dataclass(frozen=True, slots=True)
class VersionTarget:
    """What is wanted of one model version in its slot; ``start_timeout_ms`` bounds one start.

    ``shadow``: percent of the predictions that a version of weight 0 gets a copy of.
    """

    model_id: str
    slot: str
    fingerprint: str
    count: int
    weight: int
    max_surge: float = 1.0
    max_unavailable: float = 0.0
    start_timeout_ms: int = 1_200_000
    grace_ms: int = 60_000
    shadow: int = 0

    @classmethod
    def of(cls, config: VersionConfig) -> Self:
        """Reduce a version's configuration to what the planner needs."""
        return cls(
            model_id=config.model_id,
            slot=config.slot,
            fingerprint=config.fingerprint,
            count=config.instance_count,
            weight=config.weight,
            max_surge=config.max_surge,
            max_unavailable=config.max_unavailable,
            start_timeout_ms=config.deploy_timeout_s * 1000,
            grace_ms=config.grace_s * 1000,
            shadow=config.shadow,
        )

    def made(self, instance: Instance) -> bool:
        """Whether ``instance`` is made as this version wants it."""
        return (instance.model_id, instance.fingerprint) == (self.model_id, self.fingerprint)

    @property
    def surge(self) -> int:
        """Instances that may be added while replacing; a fraction is rounded up, at least 1."""
        if self.max_surge < 1:
            return max(1, math.ceil(self.max_surge * self.count))
        return int(self.max_surge)

    @property
    def needed(self) -> int:
        """Ready instances that must remain while replacing: a fraction missing rounds down."""
        if self.max_unavailable < 1:
            missing = math.floor(self.max_unavailable * self.count)
        else:
            missing = int(self.max_unavailable)
        return max(1, self.count - missing)


@dataclass(frozen=True, slots=True)
class RevisionTarget:
    """A revision as the planner needs it.

    ``keep_former_ms``: how long the revision before it stays loaded after this one has taken over.
    ``steps``: the rising traffic percentages of its canary rollout; empty: it has none.
    """

    number: int
    versions: tuple[VersionTarget, ...]
    keep_former_ms: int = 0
    steps: tuple[int, ...] = ()

    @classmethod
    def of(cls, number: int, config: Sequence[VersionConfig], rollout: Rollout) -> Self:
        """Reduce the content of revision ``number`` to what the planner needs."""
        return cls(
            number,
            tuple(VersionTarget.of(version) for version in config),
            rollout.keep_former_s * 1000,
            rollout.guard.steps if rollout.guard else (),
        )

    def version(self, model_id: str) -> VersionTarget | None:
        return next((v for v in self.versions if v.model_id == model_id), None)

    def in_slot(self, slot: str) -> VersionTarget | None:
        return next((v for v in self.versions if v.slot == slot), None)

    def slot_of(self, instance: Instance) -> str:
        """Its place in this revision: that of its model, else the one it was started for."""
        version = self.version(instance.model_id)
        return version.slot if version else instance.slot

    def makes(self, model_id: str, fingerprint: str) -> bool:
        version = self.version(model_id)
        return version is not None and version.fingerprint == fingerprint


class DesiredStatus(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a canary rollout: ``percent`` of the traffic goes to the new revision.

    ``before``: the percentage of the step before, in force until the new one has ``begun``.
    ``since``: when (ms) the gateway acknowledged its split; None: not yet.
    """

    percent: int
    before: int = 0
    since: int | None = None

    @property
    def begun(self) -> bool:
        return self.since is not None


@dataclass(frozen=True, slots=True)
class Kept:
    """A former revision whose instances stay loaded, without traffic, until ``until`` (ms)."""

    revision: RevisionTarget
    until: int


@dataclass(frozen=True, slots=True)
class Desired:
    """The desired state of one service; ``transition.py`` alone decides how it changes.

    ``target`` is the revision asked for, ``serving`` the one whose weights are in force,
    ``live`` the last one that was completely reached. ``since`` (ms) is when the target was
    accepted; only failures after it count against it. ``given_up``: the target has failed, or is
    ``finished`` (a batch run is over), and waits for the caller. ``step``: how far a canary rollout
    may go now; None: all the way. ``rejected``: why the canary analysis rejects the target.
    ``generation`` counts the changes of what is wanted.

    Two of the platform's settings go with it: a new version is proven once it has carried traffic
    for ``probation_ms``, and a service without a ready instance is given up after
    ``restart_budget`` failures within an hour; 0: never.
    """

    wanted: DesiredStatus
    target: RevisionTarget
    serving: RevisionTarget | None
    live: RevisionTarget | None
    since: int
    given_up: bool = False
    finished: bool = False
    kept: Kept | None = None
    step: Step | None = None
    rejected: str = ""
    generation: int = 0
    probation_ms: int = 0
    restart_budget: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """What is true of a service's instances. ``failures`` are those of the last hour."""

    instances: tuple[Instance, ...] = ()
    failures: tuple[Failure, ...] = ()

    def without(self, instance_ids: Collection[str]) -> Observed:
        """The same, as if these instances did not exist."""
        if not instance_ids:
            return self
        rest = tuple(i for i in self.instances if i.instance_id not in instance_ids)
        return Observed(rest, self.failures)

    def made(self, version: VersionTarget, *stages: Stage) -> tuple[Instance, ...]:
        """Instances made as ``version`` wants them."""
        return tuple(i for i in self.instances if i.stage in stages and version.made(i))

    def alive(self, revision: RevisionTarget, slot: str) -> tuple[Instance, ...]:
        """Starting and ready instances of a slot of ``revision``, however they are made."""
        return tuple(
            i
            for i in self.instances
            if i.stage is not Stage.DRAINING and revision.slot_of(i) == slot
        )

    def usable(self, revision: RevisionTarget, version: VersionTarget) -> tuple[Instance, ...]:
        """Ready instances that may carry a version's traffic: made for it, or proven before."""
        return tuple(
            i
            for i in self.alive(revision, version.slot)
            if i.stage is Stage.READY and (i.served_at is not None or version.made(i))
        )
