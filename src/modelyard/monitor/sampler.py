"""Carries the gateway's counters into the database, and keeps the usage meter fresh."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import select

from modelyard.clock import Clock
from modelyard.monitor.rate import CallRate
from modelyard.monitor.shadows import ShadowMeter, ShadowReading
from modelyard.monitor.usage import UsageMeter
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.tables.service import Counter, Instance, Service

PERIOD_S = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Requests of one variant of a model version since the gateway started."""

    total: int
    failed: int


@dataclass(frozen=True, slots=True)
class Source:
    """Whose counter it is. Variants are counted apart, since each may begin anew by itself."""

    service_id: str
    model_id: str
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the gateway's counters; ``shadows`` by service and model."""

    predictions: Mapping[Source, Reading]
    shadows: Mapping[tuple[str, str], ShadowReading]


def deltas(
    before: Mapping[Source, Reading], now: Mapping[Source, Reading]
) -> dict[Source, tuple[int, int]]:
    """What was added since; a counter that went down began anew (pure)."""
    added = {}
    for key, reading in now.items():
        old = before.get(key, Reading(0, 0))
        if reading.total < old.total or reading.failed < old.failed:
            old = Reading(0, 0)
        if reading != old:
            added[key] = (reading.total - old.total, reading.failed - old.failed)
    return added


class Sampler:
    """Adds new predictions to the counters every few seconds (services.md §9.3).

    Calls of all variants of a model count for the model, and copies for shadows for nothing: these
    go to ``shadows``. The first reading after a start of the
    control plane is only remembered: it counts from when Envoy started, and most of that is in
    the database already. Calls made while no control plane ran are not counted.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        meter: UsageMeter,
        rate: CallRate,
        shadows: ShadowMeter,
        read: Callable[[], Awaitable[Sample]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._meter = meter
        self._rate = rate
        self._shadows = shadows
        self._read = read
        self._last: Mapping[Source, Reading] | None = None

    async def sample(self) -> None:
        """One reading of everything."""
        async with self._database.read() as session:
            pids = await session.scalars(
                select(Instance.pid).where(Instance.ended_at.is_(None), Instance.pid.is_not(None))
            )
            living = [pid for pid in pids if pid]
        await self._meter.sample(living)
        now = await self._read()
        self._shadows.set(now.shadows)
        if self._last is not None:
            await self._add(deltas(self._last, now.predictions))
        self._last = dict(now.predictions)

    async def _add(self, added: Mapping[Source, tuple[int, int]]) -> None:
        if not added:
            return
        async with self._database.write(Step.COUNTERS) as session:
            for source, (total, failed) in added.items():
                service_id, model_id = source.service_id, source.model_id
                self._rate.add(service_id, total, self._clock.now_ms())
                counter = await session.get(Counter, (service_id, model_id))
                if counter is None:
                    if await session.get(Service, service_id) is None:
                        continue
                    counter = Counter(
                        service_id=service_id, model_id=model_id, invocations=0, failures=0
                    )
                    session.add(counter)
                counter.invocations += total
                counter.failures += failed
