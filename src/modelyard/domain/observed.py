"""What is true now, and what is wanted, as the planner sees them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


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

    ``grace_ms`` bounds its drain. ``served``: it has carried traffic, so its making is proven.
    """

    instance_id: str
    model_id: str
    fingerprint: str
    stage: Stage
    created_at: int
    since: int
    grace_ms: int = 60_000
    served: bool = False


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
    """What is wanted of one model version; ``start_timeout_ms`` bounds one start."""

    model_id: str
    fingerprint: str
    count: int
    weight: int
    max_surge: float = 1.0
    max_unavailable: float = 0.0
    start_timeout_ms: int = 1_200_000
    grace_ms: int = 60_000

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
    """A revision as the planner needs it."""

    number: int
    versions: tuple[VersionTarget, ...]

    def version(self, model_id: str) -> VersionTarget | None:
        return next((v for v in self.versions if v.model_id == model_id), None)


class Wanted(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Desired:
    """What should become true.

    ``target`` is the revision asked for, ``serving`` the one whose weights are in force,
    ``live`` the last one that was completely reached. ``since`` (ms) is when the present wish
    was accepted; only failures after it count against it. ``given_up``: this wish has failed and
    waits for the caller.
    """

    wanted: Wanted
    target: RevisionTarget
    serving: RevisionTarget | None
    live: RevisionTarget | None
    since: int
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What is true of a service's instances. ``failures`` are those of the last hour."""

    instances: tuple[Instance, ...] = ()
    failures: tuple[Failure, ...] = ()

    def of(self, model_id: str, *stages: Stage) -> tuple[Instance, ...]:
        return tuple(
            i
            for i in self.instances
            if i.model_id == model_id and (not stages or i.stage in stages)
        )

    def usable(self, version: VersionTarget) -> tuple[Instance, ...]:
        """Ready instances that may carry a version's traffic: made for it, or proven before."""
        return tuple(
            i
            for i in self.of(version.model_id, Stage.READY)
            if i.served or i.fingerprint == version.fingerprint
        )


@dataclass(frozen=True, slots=True)
class Split:
    """Who gets traffic: the weights of ``revision`` over the ready instances of each model."""

    revision: int
    weights: Mapping[str, int] = field(default_factory=dict)
    endpoints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def carries(self, instance_id: str) -> bool:
        return any(instance_id in ids for ids in self.endpoints.values())
