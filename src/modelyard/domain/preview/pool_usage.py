"""What a change takes of each pool while it goes on, and what it costs to keep the former; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.domain.preview.peak_demand import NOTHING, Needs, Peak
from modelyard.domain.preview.simulation import Trace
from modelyard.domain.rollout.state import Instance, Stage
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.pools import PoolRef
from modelyard.domain.service.resources import Limits, Resources

JsonObject = dict[str, Any]
Making = tuple[str, str]
"""A model's id and a fingerprint: what an instance is made of."""


@dataclass(frozen=True, slots=True)
class PoolUse:
    """What the service takes of one pool: ``now``, ``during`` the change at most, for what stays
    loaded (``kept``), and ``after`` all of it. ``free``: what the pool has for this service.

    As where capacity is judged, instances that only finish their last predictions do not count.
    """

    pool: PoolRef | None
    now: Resources
    during: Resources
    kept: Resources
    after: Resources
    free: Limits

    @property
    def name(self) -> str:
        return pool_name(self.pool)

    def to_json(self) -> JsonObject:
        """As a preview shows it; null in ``free`` means without a limit."""
        return {
            "pool": self.name,
            "now": _shown(self.now),
            "during": _shown(self.during),
            "kept": _shown(self.kept),
            "after": _shown(self.after),
            "free": _shown(self.free),
        }


def _shown(amount: Resources | Limits) -> JsonObject:
    return {
        "cpu": amount.cpu,
        "memory_mb": amount.memory_mb,
        "gpu": amount.gpu,
        "npu": amount.npu,
    }


def pool_name(pool: PoolRef | None) -> str:
    """How people call a pool."""
    return str(pool) if pool else "the shared pool"


def pool_uses(
    trace: Trace,
    present: Sequence[Instance],
    made: Mapping[Making, VersionConfig],
    peaks: Iterable[Peak],
) -> tuple[PoolUse, ...]:
    """By pool. ``made``: the configuration of each making that occurs; ``peaks``: what capacity is
    judged by.
    """
    judged = {peak.pool: peak for peak in peaks}
    now = _needs(present, made)
    during = dict(now)
    for moment in trace.moments:
        during = _most(during, _needs(moment.alive, made))
    arrived = trace.moment(trace.done_at) if trace.done_at is not None else trace.moments[-1]
    # What stays loaded ends some time, and is told apart from what the service takes for good.
    kept = _needs([i for i in arrived.alive if i.instance_id in arrived.idle], made)
    last = trace.moments[-1]
    after = _needs(last.alive, made)
    uses = (
        PoolUse(
            pool=pool,
            now=now.get(pool, NOTHING),
            during=_larger(
                during.get(pool, NOTHING), judged[pool].need if pool in judged else NOTHING
            ),
            kept=kept.get(pool, NOTHING),
            after=after.get(pool, NOTHING),
            free=judged[pool].free if pool in judged else Limits(),
        )
        for pool in sorted({*during, *judged}, key=str)
    )
    return tuple(use for use in uses if use.during != NOTHING)


def _needs(instances: Iterable[Instance], made: Mapping[Making, VersionConfig]) -> Needs:
    needs: Needs = defaultdict(Resources)
    for instance in instances:
        config = made.get((instance.model_id, instance.fingerprint))
        if config is not None and instance.stage is not Stage.DRAINING:
            needs[config.pool] += config.resources
    return dict(needs)


def _most(one: Needs, other: Needs) -> Needs:
    return {
        pool: _larger(one.get(pool, NOTHING), other.get(pool, NOTHING)) for pool in {**one, **other}
    }


def _larger(one: Resources, other: Resources) -> Resources:
    return Resources(
        max(one.cpu, other.cpu),
        max(one.memory_mb, other.memory_mb),
        max(one.gpu, other.gpu),
        max(one.npu, other.npu),
    )
