"""Who is compared with whom in a guarded rollout; pure.

A version is new when the serving revision gives it no traffic, or makes its instances otherwise.
It is compared with the version whose slot it takes; where that one has no traffic either, with all
that have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelyard.domain.canary.request_counts import Tally, VersionKey
from modelyard.domain.rollout.state import RevisionTarget, VersionTarget


@dataclass(frozen=True, slots=True)
class Comparison:
    """One new version, where the gateway counts it, and where its stable counterparts.

    ``share``: the part (0…1) of both sides' predictions that the new version gets in the step.
    """

    version: VersionTarget
    candidate: tuple[VersionKey, ...]
    stable: tuple[VersionKey, ...]
    share: float


def new_versions(serving: RevisionTarget, target: RevisionTarget) -> tuple[VersionTarget, ...]:
    """The versions of ``target`` that get traffic and that ``serving`` has not tried."""
    return tuple(v for v in target.versions if v.weight and _is_new(v, serving))


def comparisons(
    serving: RevisionTarget, target: RevisionTarget, percent: int
) -> tuple[Comparison, ...]:
    """Each new version with its counterparts, while ``percent`` of the traffic is moved."""
    return tuple(_compare(v, serving, target, percent) for v in new_versions(serving, target))


def counted(tallies: Mapping[VersionKey, Tally], keys: Iterable[VersionKey]) -> Tally:
    """The sum over several versions."""
    total = Tally()
    for key in keys:
        total = total + tallies.get(key, Tally())
    return total


def _is_new(version: VersionTarget, serving: RevisionTarget) -> bool:
    before = serving.version(version.model_id)
    return before is None or not before.weight or before.fingerprint != version.fingerprint


def _compare(
    version: VersionTarget, serving: RevisionTarget, target: RevisionTarget, percent: int
) -> Comparison:
    stable = _counterparts(version, serving)
    here = version.weight * percent
    there = sum(_weight(v, serving, target, percent) for v in stable)
    return Comparison(
        version=version,
        candidate=_keys(version, serving),
        stable=tuple(VersionKey(v.model_id) for v in stable),
        share=here / (here + there),
    )


def _weight(
    stable: VersionTarget, serving: RevisionTarget, target: RevisionTarget, percent: int
) -> int:
    """Hundredths of a percent of the traffic that a stable version has in the step."""
    after = target.version(stable.model_id)
    stays = after is not None and not _is_new(after, serving)
    return stable.weight * (100 - percent) + (after.weight * percent if after and stays else 0)


def _counterparts(version: VersionTarget, serving: RevisionTarget) -> tuple[VersionTarget, ...]:
    with_traffic = [v for v in serving.versions if v.weight]
    replaced = tuple(v for v in with_traffic if v.slot == version.slot)
    return replaced or tuple(with_traffic)


def _keys(version: VersionTarget, serving: RevisionTarget) -> tuple[VersionKey, ...]:
    """The gateway keeps what is made otherwise under one model id apart by its fingerprint."""
    apart = VersionKey(version.model_id, version.fingerprint)
    before = serving.version(version.model_id)
    if before is not None and before.fingerprint != version.fingerprint:
        return (apart,)
    return (VersionKey(version.model_id), apart)
