"""How much a service takes while it goes from one configuration to another; pure.

The peak, not the end, is what a pool must have room for: instances of one slot replace each other
within the larger count plus surge, and those of a slot that ends leave only when the new
configuration has taken over (resources.md §4).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.pools import PoolRef
from modelyard.domain.service.resources import Limits, Resources
from modelyard.errors import Problem

Needs = dict[PoolRef | None, Resources]
"""By pool; None is the shared one."""

NOTHING = Resources()


@dataclass(frozen=True, slots=True)
class Peak:
    """What a change takes of one pool at most.

    ``need`` is the service's own peak, ``after`` what it takes once the change is done, ``others``
    what the pool's other services take, ``limits`` what the pool has.
    """

    pool: PoolRef | None
    need: Resources
    after: Resources
    others: Resources
    limits: Limits

    @property
    def free(self) -> Limits:
        """What the pool has for this service."""
        return self.limits.less(self.others)

    @property
    def missing(self) -> Resources:
        """What it lacks at the peak; nothing when the change fits."""
        return self.free.missing(self.need)

    @property
    def fits(self) -> bool:
        return self.missing == NOTHING

    @property
    def fits_after(self) -> bool:
        """Whether only the way there is too wide."""
        return self.free.missing(self.after) == NOTHING


def steady_needs(config: Sequence[VersionConfig]) -> Needs:
    """What a configuration takes once it is reached."""
    needs: Needs = defaultdict(Resources)
    for version in config:
        needs[version.pool] += version.resources * version.instance_count
    return dict(needs)


def peak_needs(
    before: Sequence[VersionConfig], after: Sequence[VersionConfig], *, keep_former: bool = False
) -> Needs:
    """The most that is taken at any moment of going from ``before`` to ``after``.

    ``keep_former``: what is replaced stays loaded to the end.
    """
    old = {version.slot: version for version in before}
    new = {version.slot: version for version in after}
    needs: Needs = defaultdict(Resources)
    for slot in (*old, *(slot for slot in new if slot not in old)):
        for pool, need in _slot_needs(old.get(slot), new.get(slot), keep_former).items():
            needs[pool] += need
    return dict(needs)


def _slot_needs(old: VersionConfig | None, new: VersionConfig | None, keep_former: bool) -> Needs:
    if old is None or new is None:
        return steady_needs([version for version in (old, new) if version])
    if old.fingerprint == new.fingerprint:
        return {new.pool: new.resources * max(old.instance_count, new.instance_count)}
    together = max(old.instance_count, new.instance_count) + new.surge
    if keep_former:
        together = old.instance_count + new.instance_count
    return {pool: _fill(pool, old, new, together) for pool in {old.pool, new.pool}}


def _fill(pool: PoolRef | None, old: VersionConfig, new: VersionConfig, together: int) -> Resources:
    """The most of each resource that ``together`` instances of both can take in ``pool``."""
    a = old.resources if old.pool == pool else NOTHING
    b = new.resources if new.pool == pool else NOTHING

    def most(one: float, other: float) -> float:
        larger, count = (one, old.instance_count) if one >= other else (other, new.instance_count)
        rest = min(together - count, old.instance_count + new.instance_count - count)
        return round(larger * count + min(one, other) * rest, 2)

    return Resources(
        cpu=most(a.cpu, b.cpu),
        memory_mb=int(most(a.memory_mb, b.memory_mb)),
        gpu=most(a.gpu, b.gpu),
        npu=int(most(a.npu, b.npu)),
    )


def exceeding(
    needs: Needs, held: Needs, limits: Mapping[PoolRef | None, Limits]
) -> set[PoolRef | None]:
    """The pools that would have to give more than the service has of them already.

    Pools without any limit are left out; those that ``limits`` does not know are not.
    """
    return {
        pool
        for pool, need in needs.items()
        if not need.within(held.get(pool, NOTHING)) and (pool not in limits or limits[pool].any)
    }


def too_much(peak: Peak) -> Problem | None:
    """The refusal of a change that its pool has no room for (services.md §10: 3976)."""
    if peak.fits:
        return None
    pool = str(peak.pool) if peak.pool else "the shared pool"
    reason = (
        f"{pool} lacks {_told(peak.missing)}: the change takes {_told(peak.need)} at its peak, "
        f"and {_left(peak.free)} free for this service"
    )
    remedy = "Send fewer or smaller instances, stop another service of the pool, or enlarge it."
    if peak.fits_after:
        remedy = (
            f"Once done it takes {_told(peak.after)}, which fits: lower max_surge, replace one "
            "version at a time, or stop the service first."
        )
    return Problem("config", reason, remedy, "3976")


def _told(amount: Resources) -> str:
    parts = [
        f"{amount.cpu:g} CPU cores" if amount.cpu else "",
        f"{amount.memory_mb} MB of memory" if amount.memory_mb else "",
        f"{amount.gpu:g} GPU" if amount.gpu else "",
        f"{amount.npu} NPU" if amount.npu else "",
    ]
    return ", ".join(part for part in parts if part) or "nothing"


def _left(free: Limits) -> str:
    parts = [
        f"{free.cpu:g} CPU cores" if free.cpu is not None else "",
        f"{free.memory_mb} MB of memory" if free.memory_mb is not None else "",
        f"{free.gpu:g} GPU" if free.gpu else "",
        f"{free.npu} NPU" if free.npu else "",
    ]
    return f"{', '.join(part for part in parts if part)} are"
