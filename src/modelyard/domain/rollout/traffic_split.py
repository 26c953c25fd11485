"""Who gets traffic: the weights of a revision over ready instances; pure.

Instances of one slot share its weight by their numbers while they replace each other. Weights
are whole percents and sum to 100.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from modelyard.domain.rollout.canary_pairs import new_versions
from modelyard.domain.rollout.state import Instance, Observed, RevisionTarget, Stage, VersionTarget


@dataclass(frozen=True, slots=True)
class Share:
    """What one model gets. ``variant`` tells apart two makings of a model that are compared.

    ``revision``: the number its answers carry, when it is not the split's. ``shadow``: percent of
    all predictions that it gets a copy of.
    """

    model_id: str
    weight: int
    endpoints: tuple[str, ...]
    variant: str = ""
    revision: int | None = None
    shadow: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """The shares that are, or are to be, in force for ``revision``."""

    revision: int
    shares: tuple[Share, ...] = ()

    def carries(self, instance_id: str) -> bool:
        """Whether an instance gets traffic by it."""
        return any(share.weight and instance_id in share.endpoints for share in self.shares)


def served_since(
    instance: Instance, split: Split | None, reserve: Collection[str], now: int
) -> int | None:
    """``Instance.served_at`` once ``split`` is in force: who is given no weight carries no more.

    So nobody stands in later for a version whose weight was taken away, nor after it was down. The
    ``reserve`` of a target that has yet to prove itself keeps what it has shown.
    """
    if split is None:
        return instance.served_at
    if split.carries(instance.instance_id):
        return now if instance.served_at is None else instance.served_at
    return instance.served_at if instance.instance_id in reserve else None


_Key = tuple[str, str]


class _Pot:
    """Collects weights and endpoints by model and variant; a weight may be a fraction."""

    def __init__(self) -> None:
        self._weights: dict[_Key, Fraction] = {}
        self._endpoints: dict[_Key, set[str]] = {}
        self._revisions: dict[_Key, int | None] = {}
        self._shadows: dict[_Key, int] = {}

    def add(
        self,
        key: _Key,
        weight: Fraction,
        instances: Iterable[Instance],
        revision: int | None = None,
        shadow: int = 0,
    ) -> None:
        self._weights[key] = self._weights.get(key, Fraction(0)) + weight
        self._endpoints.setdefault(key, set()).update(i.instance_id for i in instances)
        self._revisions.setdefault(key, revision)
        self._shadows[key] = max(shadow, self._shadows.get(key, 0))

    @property
    def models(self) -> frozenset[str]:
        return frozenset(model_id for model_id, _ in self._weights)

    def shares(self) -> tuple[Share, ...]:
        weights = whole_percents(self._weights)
        return tuple(
            Share(
                model_id=key[0],
                weight=weights[key],
                endpoints=tuple(sorted(self._endpoints[key])),
                variant=key[1],
                revision=self._revisions[key],
                shadow=self._shadows[key],
            )
            for key in self._weights
        )


def whole_percents(weights: Mapping[_Key, Fraction]) -> dict[_Key, int]:
    """Whole numbers nearest to ``weights`` that sum to 100; what is above 0 gets at least 1.

    >>> whole_percents({("a", ""): Fraction(200, 3), ("b", ""): Fraction(100, 3)})
    {('a', ''): 67, ('b', ''): 33}
    """
    result = {key: max(int(weight), 1 if weight else 0) for key, weight in weights.items()}
    if not any(result.values()):
        return result
    while sum(result.values()) < 100:
        result[max(result, key=lambda key: (weights[key] - result[key], key))] += 1
    # What was rounded up comes from the largest.
    while sum(result.values()) > 100:
        result[max(result, key=lambda key: (result[key], key))] -= 1
    return result


def split_of(
    revision: RevisionTarget | None,
    observed: Observed,
    leaving: Collection[str] = (),
    idle: Collection[str] = (),
) -> Split | None:
    """``revision`` over its usable instances, without those ``leaving``.

    ``idle`` instances are listed with weight 0, so that the gateway knows them already when they
    are to take over. None: nothing serves.
    """
    if revision is None:
        return None
    staying = observed.without((*leaving, *idle))
    pot = _Pot()
    for version in revision.versions:
        _add_slot(pot, version, Fraction(version.weight), staying.usable(revision, version))
    carrying = pot.models
    for instance in observed.without(leaving).instances:
        if instance.instance_id in idle:
            variant = instance.fingerprint if instance.model_id in carrying else ""
            pot.add((instance.model_id, variant), Fraction(0), [instance])
    return Split(revision.number, pot.shares())


def _add_slot(
    pot: _Pot, version: VersionTarget, whole: Fraction, usable: Collection[Instance]
) -> None:
    """Spread ``whole`` over the models whose instances the slot has now, by their numbers."""
    own = [i for i in usable if i.model_id == version.model_id]
    others = [i for i in usable if i.model_id != version.model_id]
    each = whole / len(usable) if usable else Fraction(0)
    weight = each * len(own) if usable else whole
    pot.add((version.model_id, ""), weight, own, shadow=version.shadow)
    for instance in others:
        pot.add((instance.model_id, ""), each, [instance])


def variant_of(version: VersionTarget, serving: RevisionTarget) -> str:
    """What tells a new version's instances from those of its model that serve already."""
    known = serving.version(version.model_id)
    return version.fingerprint if known and known.fingerprint != version.fingerprint else ""


def blend(
    serving: RevisionTarget,
    target: RevisionTarget,
    observed: Observed,
    percent: int,
    leaving: Collection[str] = (),
) -> Split:
    """``percent`` of the traffic by ``target``'s weights, the rest by ``serving``'s.

    The new versions get their share on instances of their own, the old ones on all others, so
    that the two can be compared.
    """
    staying = observed.without(leaving)
    new = new_versions(serving, target)
    compared = {v.model_id for v in new}
    stable = staying.without(
        {
            i.instance_id
            for i in staying.instances
            if i.model_id in compared and not serving.makes(i.model_id, i.fingerprint)
        }
    )
    pot = _Pot()
    for version in serving.versions:
        whole = Fraction(version.weight * (100 - percent), 100)
        _add_slot(pot, version, whole, stable.usable(serving, version))
    for version in target.versions:
        share = Fraction(version.weight * percent, 100)
        if version in new:
            key = (version.model_id, variant_of(version, serving))
            ready = staying.made(version, Stage.READY)
            pot.add(key, share, ready, revision=target.number, shadow=version.shadow)
        else:
            pot.add((version.model_id, ""), share, ())
    return Split(serving.number, pot.shares())
