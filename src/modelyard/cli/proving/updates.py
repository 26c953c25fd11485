"""Random valid updates of one service; pure but for the source of randomness it is given."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from modelyard.client.names import DEFAULT_FLAVOR

POLICIES = ("ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP")
SURGES = (0.5, 1.0, 2.0)
MOST_VERSIONS = 3


@dataclass(frozen=True, slots=True)
class Version:
    """One element of ``config``. ``setting``: value of an environment variable of the model."""

    model_id: str
    weight: int
    count: int = 1
    setting: str = ""
    surge: float = 1.0


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """What a service is asked to be."""

    versions: tuple[Version, ...]
    policy: str = POLICIES[0]

    def body(self) -> dict[str, object]:
        """As a whole update (services.md §3.1)."""
        return {
            "load_balancer_policy": self.policy,
            "config": [_entry(version) for version in self.versions],
        }


@dataclass(frozen=True, slots=True)
class Means:
    """What updates may use: the published models, and instances of a version at most."""

    models: Sequence[str]
    most: int = 2


def next_update(
    chance: random.Random, present: TargetConfig, means: Means
) -> tuple[str, TargetConfig]:
    """The name of a random kind of change, and what the service is wanted to be after it."""
    while True:
        kind = chance.choice(tuple(_KINDS))
        wanted = _KINDS[kind](chance, present, means)
        if wanted is not None and wanted != present:
            return kind, wanted


def _entry(version: Version) -> dict[str, object]:
    return {
        "model_id": version.model_id,
        "weight": version.weight,
        "specification": DEFAULT_FLAVOR,
        "instance_count": version.count,
        "envs": {"SETTING": version.setting} if version.setting else {},
        "additional_properties": {
            "max_surge": version.surge,
            "termination_grace_period_seconds": 5,
        },
    }


# -- the kinds of change; None: the service has not what it takes ----------------------------------


def _weights(chance: random.Random, present: TargetConfig, _: Means) -> TargetConfig | None:
    return None if len(present.versions) < 2 else _weighed(chance, present, present.versions)


def _count(chance: random.Random, present: TargetConfig, means: Means) -> TargetConfig | None:
    return _changed(chance, present, lambda v: replace(v, count=chance.randint(1, means.most)))


def _envs(chance: random.Random, present: TargetConfig, _: Means) -> TargetConfig | None:
    return _changed(chance, present, lambda v: replace(v, setting=chance.choice(("", "a", "b"))))


def _surge(chance: random.Random, present: TargetConfig, _: Means) -> TargetConfig | None:
    return _changed(chance, present, lambda v: replace(v, surge=chance.choice(SURGES)))


def _replaced(chance: random.Random, present: TargetConfig, means: Means) -> TargetConfig | None:
    unused = _unused(present, means)
    if not unused:
        return None
    return _changed(chance, present, lambda v: replace(v, model_id=chance.choice(unused)))


def _added(chance: random.Random, present: TargetConfig, means: Means) -> TargetConfig | None:
    unused = _unused(present, means)
    if not unused or len(present.versions) == MOST_VERSIONS:
        return None
    return _weighed(chance, present, (*present.versions, Version(chance.choice(unused), 0)))


def _removed(chance: random.Random, present: TargetConfig, _: Means) -> TargetConfig | None:
    if len(present.versions) < 2:
        return None
    gone = chance.choice(present.versions)
    return _weighed(chance, present, tuple(v for v in present.versions if v != gone))


def _policy(chance: random.Random, present: TargetConfig, _: Means) -> TargetConfig | None:
    return replace(present, policy=chance.choice(POLICIES))


_Kind = Callable[[random.Random, TargetConfig, Means], TargetConfig | None]
_KINDS: dict[str, _Kind] = {
    "weights": _weights,
    "count": _count,
    "version replaced": _replaced,
    "version added": _added,
    "version removed": _removed,
    "envs": _envs,
    "surge": _surge,
    "policy": _policy,
}


def _unused(present: TargetConfig, means: Means) -> list[str]:
    used = {version.model_id for version in present.versions}
    return [model for model in means.models if model not in used]


def _changed(
    chance: random.Random, present: TargetConfig, change: Callable[[Version], Version]
) -> TargetConfig:
    versions = list(present.versions)
    at = chance.randrange(len(versions))
    versions[at] = change(versions[at])
    return replace(present, versions=tuple(versions))


def _weighed(
    chance: random.Random, present: TargetConfig, versions: Sequence[Version]
) -> TargetConfig:
    """``versions`` with random weights in steps of 5 that sum to 100; 0 is one of them."""
    cuts = sorted(5 * chance.randint(0, 20) for _ in versions[1:])
    bounds = [0, *cuts, 100]
    weights = [after - before for before, after in pairwise(bounds)]
    weighed = (replace(v, weight=w) for v, w in zip(versions, weights, strict=True))
    return replace(present, versions=tuple(weighed))
