"""The preview is what happens: in random histories the loop does what the preview showed.

The two are computed apart. The preview is asked for before the change and simulates it; then the
change is made, and the real reconciler carries it out on a real database, over a runtime whose
instances start and drain in the time that the preview assumes. Compared are the instances that
start, leave and stay, every split that is published, and the state at the end.

    HISTORIES=500 pytest --timeout=0 tests/property/test_preview_holds.py     # the long run
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from sqlalchemy import select

from loop_support import AUTHOR, M1, M2, Bench, loop_bench, version
from modelyard.control.changes.admission import ChangeKind, ChangeRequest
from modelyard.control.reconciler.reconcile import reconcile
from modelyard.domain.canary.request_counts import Tally, VersionKey
from modelyard.domain.preview.simulation import Assumptions
from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec
from modelyard.domain.rollout.instance import Phase as InstancePhase
from modelyard.domain.rollout.outcome import Result
from modelyard.domain.rollout.state import Stage
from modelyard.domain.service.lifecycle import Status
from modelyard.domain.service.traffic import ServiceTraffic
from modelyard.store.tables.service import Instance
from modelyard.testing.clock import FakeClock
from modelyard.testing.requests import FakeRequests, tally
from modelyard.testing.runtime import FakeRuntime

Json = dict[str, Any]
Split = Counter[tuple[str, int, int, int]]
START_MS = 1_700
DRAIN_MS = Assumptions({}, 0).drain_ms
STEP = {"steps": [10, 50], "hold_seconds": 30}
KEEP = {"keep_former_minutes": 10}


@dataclass
class TimedRuntime(FakeRuntime):
    """Instances start in ``START_MS`` and drain in ``DRAIN_MS``."""

    clock: FakeClock = field(default_factory=FakeClock)
    due: dict[str, int] = field(default_factory=dict)

    async def start(self, spec: InstanceSpec) -> None:
        await super().start(spec)
        self.phases[spec.instance_id] = InstancePhase.STARTING
        self.due[spec.instance_id] = self.clock.now + START_MS

    async def drain(self, instance_id: str) -> None:
        await super().drain(instance_id)
        self.phases[instance_id] = InstancePhase.DRAINING
        self.due[instance_id] = self.clock.now + DRAIN_MS

    async def probe(self, instance_id: str) -> InstanceReport | None:
        if self.due.get(instance_id, self.clock.now + 1) <= self.clock.now:
            del self.due[instance_id]
            ready = self.phases.get(instance_id) is InstancePhase.STARTING
            self.phases[instance_id] = InstancePhase.READY if ready else InstancePhase.GONE
        return await super().probe(instance_id)


class _Good(dict[VersionKey, Tally]):
    def __missing__(self, key: VersionKey) -> Tally:
        return tally(1_000)

    def get(self, key: VersionKey, default: Tally | None = None) -> Tally:  # type: ignore[override]
        return self[key]


class GoodRequests(FakeRequests):
    """Every version has answered enough predictions, and all of them well."""

    async def tallies(
        self, service_id: str, from_ms: int, until_ms: int
    ) -> Mapping[VersionKey, Tally]:
        return _Good()


@dataclass(frozen=True)
class Happened:
    """What the loop's log shows of a change."""

    started: Counter[str]
    left: frozenset[str]
    left_models: Counter[str]
    splits: list[Split]


class History:
    """One service, and the changes that are made to it."""

    def __init__(self, bench: Bench, runtime: TimedRuntime) -> None:
        self.bench = bench
        self.runtime = runtime
        self.service_id = ""

    async def reconcile(self, most: int = 400) -> None:
        """Reconcile until nothing is due within a minute, or ``most`` times."""
        clock = self.bench.clock
        for _ in range(most):
            at = await reconcile(self.bench.parts, self.service_id)
            soon = [due for due in (at, *self.runtime.due.values()) if due is not None]
            if not soon or min(soon) > clock.now + 60_000:
                return
            clock.now = max(clock.now + 1, min(soon))
        assert most < 400, "the service does not come to rest"

    async def rest(self) -> None:
        """Reconcile until nothing is due any more, whatever is kept loaded."""
        await self.reconcile()
        until = (await self.bench.service(self.service_id)).kept_until
        if until is not None:
            self.bench.clock.now = max(self.bench.clock.now, until)
            await self.reconcile()

    async def preview(self, body: Json) -> Json:
        request = ChangeRequest(ChangeKind.UPDATE, body)
        return await self.bench.changes.preview(AUTHOR, self.service_id, request)

    async def instances(self) -> dict[str, Instance]:
        async with self.bench.database.read() as session:
            of_service = Instance.service_id == self.service_id
            rows = await session.scalars(select(Instance).where(of_service))
            return {row.id: row for row in rows}

    async def change(self, body: Json) -> Happened:
        """Make the change, and read from the log what happened until the service was at rest."""
        before = await self.instances()
        published = self.published()
        await self.bench.update(self.service_id, **body)
        await self.rest()
        after = await self.instances()
        gone = [row for row in after.values() if _leaves(row) and not _leaves_by(before, row.id)]
        return Happened(
            Counter(row.model_id for row in after.values() if row.id not in before),
            frozenset(row.id for row in gone),
            Counter(row.model_id for row in gone),
            seen_splits(self.published()[max(0, len(published) - 1) :]),
        )

    def published(self) -> list[ServiceTraffic]:
        return [t for t in self.bench.gateway.history if t.service_id == self.service_id]


def _leaves(row: Instance) -> bool:
    return row.stage == Stage.DRAINING.value or row.ended_at is not None


def _leaves_by(rows: dict[str, Instance], instance_id: str) -> bool:
    return instance_id in rows and _leaves(rows[instance_id])


def planned_splits(document: Json) -> list[Split]:
    return _changing(
        Counter(
            (v["model_id"], v["revision"], v["weight"], v["instances"])
            for v in move["versions"]
            if v["weight"]
        )
        for move in document["traffic"]
    )


def seen_splits(history: list[ServiceTraffic]) -> list[Split]:
    return _changing(
        Counter(
            (v.model_id, v.revision or traffic.revision, v.weight, len(v.endpoints))
            for v in traffic.versions
            if v.weight
        )
        for traffic in history
    )


def _changing(splits: Iterable[Split]) -> list[Split]:
    found: list[Split] = []
    for split in splits:
        if not found or found[-1] != split:
            found.append(split)
    return found


@st.composite
def configurations(draw: st.DrawFn) -> Json:
    models = draw(st.lists(st.sampled_from((M1, M2)), min_size=1, max_size=2, unique=True))
    first = draw(st.integers(0, 100)) if len(models) == 2 else 100
    weights = (first, 100 - first)
    config = [
        version(
            model,
            weights[number],
            draw(st.integers(1, 4)),
            envs={"MADE": str(draw(st.integers(1, 2)))},
            additional_properties={
                "max_surge": draw(st.sampled_from((1, 2, 0.5))),
                "max_unavailable": draw(st.sampled_from((0, 0, 1))),
            },
        )
        for number, model in enumerate(models)
    ]
    rollout = draw(st.sampled_from(({}, {}, KEEP, STEP, {**KEEP, **STEP})))
    return {"config": config, "additional_properties": {"rollout": rollout}}


@st.composite
def changes(draw: st.DrawFn) -> tuple[Json, int]:
    """A change, and after how many reconciles the next one comes; 0: when it is complete."""
    kind = draw(st.sampled_from(("config", "config", "config", "stop", "describe", "policy")))
    if kind == "config":
        return draw(configurations()), draw(st.sampled_from((0, 0, 1, 4, 9)))
    if kind == "stop":
        return {"status": "stopped"}, 0
    if kind == "policy":
        return {"load_balancer_policy": draw(st.sampled_from(("SOURCE_IP", "ROUND_ROBIN")))}, 0
    return {"description": draw(st.sampled_from(("a", "b")))}, draw(st.sampled_from((0, 3)))


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def bench(loop: asyncio.Runner) -> Iterator[Bench]:
    stack = AsyncExitStack()
    with tempfile.TemporaryDirectory() as folder:
        made = loop.run(stack.enter_async_context(loop_bench(Path(folder), probation=0.5)))
        yield made
        loop.run(stack.aclose())


@given(
    first=configurations(),
    following=st.lists(changes(), min_size=1, max_size=3),
    lost=st.booleans(),
)
@settings(
    max_examples=int(os.environ.get("HISTORIES", "20")),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_the_loop_does_what_the_preview_showed(
    loop: asyncio.Runner, bench: Bench, first: Json, following: list[tuple[Json, int]], lost: bool
) -> None:
    loop.run(_history(bench, first, following, lost))


async def _history(
    bench: Bench, first: Json, following: list[tuple[Json, int]], lost: bool
) -> None:
    runtime = TimedRuntime(clock=bench.clock)
    bench.runtime = runtime
    bench.parts = replace(bench.parts, runtime=runtime, requests=GoodRequests())
    history = History(bench, runtime)
    # So that the preview knows how long both models take to start.
    for name, config in (("warm", [version(M1, 50), version(M2, 50)]), ("svc", first["config"])):
        more = {} if name == "warm" else {"additional_properties": first["additional_properties"]}
        unique = f"{name}-{bench.clock.now}"
        history.service_id = await bench.create(*config, service_name=unique, **more)
        await history.rest()
        bench.clock.pass_ms(1)
    for body, interrupted in following:
        if lost:
            runtime.kill(runtime.alive()[0])
            await history.reconcile(most=1)
            bench.clock.pass_ms(50)
        if (await bench.service(history.service_id)).status == Status.STOPPED.value:
            await _compare(history, {"status": "running"})
        if interrupted:
            await bench.update(history.service_id, **body)
            await history.reconcile(most=interrupted)
        else:
            await _compare(history, body)
    await _compare(history, {"description": "the end"})


async def _compare(history: History, body: Json) -> None:
    note(f"{body}")
    shown = await history.preview(body)
    was = (await history.bench.service(history.service_id)).status
    rows = await history.instances()
    leaving = {i for i, row in rows.items() if _leaves(row)}
    there = set(rows) - leaving
    happened = await history.change(body)
    note(f"{shown['instances']}")

    def ids(*actions: str) -> list[Json]:
        return [step for step in shown["instances"] if step["action"] in actions]

    assert Counter(step["model_id"] for step in ids("started")) == happened.started
    left = [step for step in ids("drained", "stopped") if step["instance_id"] not in leaving]
    assert Counter(step["model_id"] for step in left) == happened.left_models
    assert {step["instance_id"] for step in left} & there == happened.left & there
    assert {step["instance_id"] for step in ids("kept")} == there - happened.left
    assert planned_splits(shown) == happened.splits
    service = await history.bench.service(history.service_id)
    stopped = body.get("status", was) == "stopped"
    assert service.status == (Status.STOPPED if stopped else Status.RUNNING).value
    assert shown["expected_seconds"] is not None
    if shown["revision"]:
        assert service.desired_revision == shown["revision"]
    if not stopped:
        assert service.live_revision == service.serving_revision == service.desired_revision
    logs = await history.bench.logs(history.service_id)
    assert all(log.result != Result.RUNNING.value for log in logs)
