"""Whether pools have room for a change, judged before anything of it is written (resources.md §4).

A pool belongs to the machines and not to a project: the services of all projects share it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from modelyard.domain.preview.peak_demand import (
    NOTHING,
    Needs,
    Peak,
    exceeding,
    peak_needs,
    steady_needs,
    too_much,
)
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.pools import Pool, PoolRef, unknown_code
from modelyard.domain.service.resources import Limits, Resources
from modelyard.errors import Problem, refuse
from modelyard.settings import Settings
from modelyard.store.database import Session
from modelyard.store.service import services as store
from modelyard.store.service.pools import Holder, holders, lock_pools
from modelyard.store.tables.service import Service

PoolLimits = Mapping[PoolRef | None, Limits]


@dataclass(frozen=True, slots=True)
class _Change:
    """What a service has of the pools now, at its peak and after the change."""

    held: Needs
    peak: Needs
    after: Needs


def pools_of(settings: Settings) -> tuple[Pool, ...]:
    """The dedicated pools that the operator declared."""
    return tuple(pool.pool() for pool in settings.capacity.pools)


async def check_capacity(
    session: Session, settings: Settings, service: Service, new: store.NewRevision | None
) -> None:
    """Refuse a change that a pool has no room for on the way or after it.

    ``new`` None: the service is started as it was configured last. A change that takes no more
    than the service has already is never refused. To be called beside ``judge_quotas``, before
    the commit. Raises ``InvalidRequest`` with every pool that is short (services.md §10: 3976).
    """
    if service.desired_status != DesiredStatus.RUNNING.value:
        return
    problems = await capacity_problems(session, settings, service, new, lock=True)
    if problems:
        raise refuse(problems)


async def capacity_problems(
    session: Session,
    settings: Settings,
    service: Service,
    new: store.NewRevision | None,
    *,
    lock: bool = False,
) -> list[Problem]:
    """Every pool that is short if the service is to run so.

    With ``lock`` nobody else judges what pools have room for until the session ends.
    """
    limits = _limits(settings)
    change = await _change(session, service, new)
    tight = exceeding(change.peak, change.held, limits)
    if not tight:
        return []
    problems = [p for p in (_not_usable(settings, pool) for pool in tight if pool) if p]
    if lock:
        await lock_pools(session)
    problems += [
        problem
        for peak in await _peaks(session, service.id, change, tight, limits)
        if (problem := too_much(peak))
    ]
    return problems


async def peaks(
    session: Session, settings: Settings, service: Service, new: store.NewRevision | None
) -> tuple[Peak, ...]:
    """What the change takes of each of its pools, against what is there (for the preview)."""
    change = await _change(session, service, new)
    return await _peaks(session, service.id, change, change.peak, _limits(settings))


async def free(session: Session, settings: Settings) -> dict[PoolRef, Limits]:
    """What is left of every dedicated pool."""
    limits = _limits(settings)
    refs = [pool.ref for pool in pools_of(settings)]
    used = await _used(session, refs)
    return {ref: limits[ref].less(used.get(ref, NOTHING)) for ref in refs}


def _limits(settings: Settings) -> PoolLimits:
    shared = Limits(
        settings.capacity.shared_cpu or None, settings.capacity.shared_memory_mb or None
    )
    limits: dict[PoolRef | None, Limits] = {None: shared}
    for pool in pools_of(settings):
        has = pool.capacity
        limits[pool.ref] = Limits(has.cpu, has.memory_mb, has.gpu, has.npu)
    return limits


def _not_usable(settings: Settings, ref: PoolRef) -> Problem | None:
    """A pool that a stored configuration names may have gone or stopped since."""
    pool = next((pool for pool in pools_of(settings) if pool.ref == ref), None)
    remedy = "Configure the service for another pool."
    if pool is None:
        return Problem("config", f"{ref} does not exist any more", remedy, unknown_code(ref))
    return None if pool.usable else Problem("config", f"{ref} is {pool.state}", remedy)


async def _change(session: Session, service: Service, new: store.NewRevision | None) -> _Change:
    serving = await _config(session, service.id, service.serving_revision)
    kept = await _config(session, service.id, service.kept_revision)
    if new is None:
        stored = await store.get_revision(session, service.id, service.desired_revision)
        after, keeps = stored.config, stored.rollout.keep_former_s > 0
    else:
        after, keeps = tuple(new.config), new.rollout.keep_former_s > 0
    held = _sum(steady_needs(serving), steady_needs(kept))
    peak = peak_needs(serving, after, keep_former=keeps)
    return _Change(held, peak, steady_needs(after))


async def _config(
    session: Session, service_id: str, number: int | None
) -> tuple[VersionConfig, ...]:
    return () if number is None else await store.revision_config(session, service_id, number)


async def _peaks(
    session: Session,
    service_id: str,
    change: _Change,
    pools: Collection[PoolRef | None],
    limits: PoolLimits,
) -> tuple[Peak, ...]:
    limited = [pool for pool in pools if limits.get(pool, Limits()).any]
    used = await _used(session, limited, but=service_id)
    return tuple(
        Peak(
            pool=pool,
            need=change.peak[pool],
            after=change.after.get(pool, NOTHING),
            others=used.get(pool, NOTHING),
            limits=limits.get(pool, Limits()),
        )
        for pool in sorted(pools, key=str)
    )


async def _used(session: Session, pools: Collection[PoolRef | None], *, but: str = "") -> Needs:
    if not pools:
        return {}
    used: Needs = {}
    for holder in await holders(session, pools, but=but):
        used = _sum(used, _held(holder))
    return used


def _held(holder: Holder) -> Needs:
    """What a service may take at any moment now: on its way, and with what it keeps warm."""
    serving, desired = holder.config(holder.serving), holder.config(holder.desired)
    needs = peak_needs(serving, desired, keep_former=holder.keeps_former)
    if holder.kept is not None and holder.kept not in (holder.serving, holder.desired):
        needs = _sum(needs, steady_needs(holder.config(holder.kept)))
    return needs


def _sum(one: Needs, other: Needs) -> Needs:
    return {
        pool: one.get(pool, Resources()) + other.get(pool, Resources()) for pool in {**one, **other}
    }
