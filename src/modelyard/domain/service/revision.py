"""What differs between two revisions, field by field, and what each difference does; pure.

Versions are paired by slot: a version and the one that takes over from it (``slots.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.rollout_policy import Rollout
from modelyard.domain.service.slots import assign_slots
from modelyard.domain.service.traffic import LoadBalancerPolicy

JsonObject = dict[str, Any]


class Content(Protocol):
    """What a revision is made of, stored or about to be."""

    @property
    def config(self) -> Sequence[VersionConfig]: ...

    @property
    def policy(self) -> LoadBalancerPolicy: ...

    @property
    def rollout(self) -> Rollout: ...


class Effect(StrEnum):
    """What a change does to instances."""

    NONE = "nothing restarts"
    COUNT = "adds or removes instances"
    REPLACE = "replaces instances"


@dataclass(frozen=True, slots=True)
class Change:
    """``field``: dotted path (``config[0].weight``); the index is the new configuration's, or the
    old one's for a version that leaves. ``before`` and ``after`` are JSON values, None for what
    is not there. ``model_id``: the version it is about, or empty.
    """

    field: str
    before: object
    after: object
    effect: Effect
    model_id: str = ""

    def to_json(self) -> JsonObject:
        """As compare and preview show it."""
        body: JsonObject = {
            "field": self.field,
            "before": self.before,
            "after": self.after,
            "effect": self.effect.value,
        }
        return body | ({"model_id": self.model_id} if self.model_id else {})


# A slot is our own bookkeeping; what these others mean is stored beside them.
_HIDDEN = ("slot", "additional_properties", "cluster_id", "pool_name")
_IN_DETAIL = ("envs", "custom_spec")
_IN_INSTANCES = frozenset(
    {
        "model_id",
        "specification",
        "custom_spec",
        "envs",
        "pool",
        "persistent_volumes",
        "log_volume",
    }
)


def diff(old: Content, new: Content) -> tuple[Change, ...]:
    """Every difference, versions first, in the order of the new configuration.

    >>> from types import SimpleNamespace as Made
    >>> plain = {"policy": LoadBalancerPolicy.ROUND_ROBIN, "rollout": Rollout()}
    >>> old = Made(config=(VersionConfig("a", "f", 1, 100, slot="a"),), **plain)
    >>> new = Made(config=(VersionConfig("a", "f", 2, 100, slot="a"),), **plain)
    >>> [(c.field, c.before, c.after) for c in diff(old, new)]
    [('config[0].instance_count', 1, 2)]
    """
    return (*_versions(old.config, new.config), *_of_the_service(old, new))


def _versions(old: Sequence[VersionConfig], new: Sequence[VersionConfig]) -> Iterator[Change]:
    former = {version.slot: version for version in old}
    # As if ``new`` were to follow ``old`` directly; of neighbours these are the slots they have.
    after = assign_slots(old, new)
    kept = {version.slot for version in after}
    for index, version in enumerate(after):
        before = former.get(version.slot)
        name = f"config[{index}]"
        if before is None:
            shown = _shown(version)
            yield Change(name, None, shown, Effect.COUNT, version.model_id)
        else:
            yield from _fields(name, before, version)
    for index, version in enumerate(old):
        if version.slot not in kept:
            shown = _shown(version)
            yield Change(f"config[{index}]", shown, None, Effect.COUNT, version.model_id)


def _fields(name: str, old: VersionConfig, new: VersionConfig) -> Iterator[Change]:
    before, after = _shown(old), _shown(new)
    remade = old.fingerprint != new.fingerprint
    for key in (*after, *(key for key in before if key not in after)):
        if before.get(key) == after.get(key):
            continue
        effect = Effect.NONE
        if key == "instance_count":
            effect = Effect.COUNT
        elif remade and key in _IN_INSTANCES:
            effect = Effect.REPLACE
        if key in _IN_DETAIL:
            yield from _members(f"{name}.{key}", before.get(key), after.get(key), effect, new)
        else:
            path = f"{name}.{key}"
            yield Change(path, before.get(key), after.get(key), effect, new.model_id)


def _members(
    name: str, before: object, after: object, effect: Effect, version: VersionConfig
) -> Iterator[Change]:
    old: Mapping[str, object] = before if isinstance(before, Mapping) else {}
    new: Mapping[str, object] = after if isinstance(after, Mapping) else {}
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            path = f"{name}.{key}"
            yield Change(path, old.get(key), new.get(key), effect, version.model_id)


def _shown(version: VersionConfig) -> JsonObject:
    return {key: value for key, value in version.to_json().items() if key not in _HIDDEN}


def _of_the_service(old: Content, new: Content) -> Iterator[Change]:
    if old.policy is not new.policy:
        before, after = old.policy.value, new.policy.value
        yield Change("load_balancer_policy", before, after, Effect.NONE)
    was, is_ = old.rollout.to_json(), new.rollout.to_json()
    for key in (*is_, *(key for key in was if key not in is_)):
        if was.get(key) != is_.get(key):
            yield Change(f"rollout.{key}", was.get(key), is_.get(key), Effect.NONE)
