"""The control plane dies after each persisted step of each operation on a batch service.

As ``test_crash_in_memory.py`` does for real-time services: drivers and instances live on in memory,
and in the end everything is as it would have been. ``tests/crash`` does it with real processes.
"""

from __future__ import annotations

import asyncio
import copy
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from batch_services import OTHER, add_models, create, finished, job, runs_of
from sqlalchemy import select
from test_crash_in_memory import Life, Mortal, StrictGateway, World, counted

from loop_support import AUTHOR, loop_bench
from modelyard.control.batch.runs_reconcile import GRACE_MS
from modelyard.control.changes.admission import ChangeKind, ChangeRequest
from modelyard.control.maintenance.orphans import end_orphan_runs
from modelyard.control.maintenance.retention import forget_runs
from modelyard.domain.batch.run import Address, DriverReport, RunSpec
from modelyard.steps import Step
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.service import Instance, Service, UpdateLog
from modelyard.testing.clock import FakeClock
from modelyard.testing.drivers import FakeDrivers

ELSEWHERE: dict[Step, str] = {
    Step.RUN_RECORD: "only real drivers have a record: tests/crash/test_batch_service_points.py",
}


@dataclass
class MortalDrivers(FakeDrivers):
    """Drivers that outlive the control plane, which must live for all that it does to them.

    One has finished when it was looked at ``patience`` times; those in ``lost`` are lost first, and
    those in ``endless`` never come to an end.
    """

    life: Life = field(default_factory=Life)
    patience: int = 4
    lost: set[str] = field(default_factory=set)
    endless: set[str] = field(default_factory=set)
    looks: Counter[str] = field(default_factory=Counter)

    def report(self, task_id: str) -> DriverReport:
        if task_id in self.alive and task_id not in self.endless:
            self.looks[task_id] += 1
            if self.looks[task_id] == 2 and task_id in self.lost:
                self.lost.discard(task_id)
                self.lose(task_id)
            elif self.looks[task_id] >= self.patience:
                self.finish(task_id, finished(100, 1))
        return super().report(task_id)

    async def prepare(self, spec: RunSpec) -> None:
        self.life.act()
        await super().prepare(spec)

    async def point(self, task_id: str, addresses: Sequence[Address]) -> None:
        self.life.act()
        await super().point(task_id, addresses)

    async def start(self, task_id: str) -> None:
        self.life.act()
        assert task_id not in self.alive, "two drivers on one run"
        assert task_id not in self.results, "a driver for what is over"
        await super().start(task_id)

    async def end(self, task_id: str, *, at_once: bool = False) -> None:
        self.life.act()
        await super().end(task_id, at_once=at_once)

    async def remove(self, task_id: str) -> None:
        self.life.act()
        assert task_id not in self.alive, "its folder went before its driver"
        await super().remove(task_id)


Lasting = tuple[World, StrictGateway, FakeClock, MortalDrivers]


class BatchBench(Mortal):
    """A mortal control plane with drivers."""

    drivers: MortalDrivers  # type: ignore[assignment]

    def take(self, lasting: Lasting) -> None:
        self.drivers = lasting[3]
        self.drivers.life = self.life
        self.enter(lasting[:3])

    def boot(self) -> None:
        super().boot()
        self.parts = replace(self.parts, drivers=self.drivers)

    async def restart(self) -> None:
        await super().restart()
        await end_orphan_runs(self.database, self.drivers)


Act = Callable[[BatchBench, str], Awaitable[object]]


@dataclass(frozen=True)
class Operation:
    """``act`` on a service whose run is as ``start`` says (None: there is none yet).

    ``outcomes``: of all runs in the end, the oldest first; None: the service is gone.
    """

    name: str
    act: Act
    outcomes: tuple[str, ...] | None
    status: str = "finished"
    start: str | None = "running"
    log: str = ""


async def _create(bench: BatchBench, _: str) -> None:
    await create(bench, job(count=2), service_name="subject")


async def _create_unlucky(bench: BatchBench, _: str) -> None:
    service_id = await create(bench, service_name="subject")
    bench.drivers.lost = {run.task_id for run in await runs_of(bench, service_id)}


async def _nothing(bench: BatchBench, _: str) -> None:
    bench.drivers.endless.clear()


async def _stop(bench: BatchBench, service_id: str) -> None:
    await bench.update(service_id, status="stopped")


async def _delete(bench: BatchBench, service_id: str) -> None:
    await bench.changes.delete(AUTHOR, [service_id])


async def _start(bench: BatchBench, service_id: str) -> None:
    await bench.update(service_id, status="running")


async def _retry(bench: BatchBench, service_id: str) -> None:
    await bench.changes.change(AUTHOR, service_id, ChangeRequest(ChangeKind.RETRY, None))


def configured(**changes: object) -> Act:
    async def act(bench: BatchBench, service_id: str) -> None:
        await bench.update(service_id, config=[job(**changes)])  # type: ignore[arg-type]

    return act


async def _more(bench: BatchBench, service_id: str) -> None:
    bench.drivers.endless.clear()
    bench.drivers.patience = 12
    await configured(count=3)(bench, service_id)


async def _broken(bench: BatchBench, service_id: str) -> None:
    bench.runtime.broken[OTHER] = "ImportError: no module named nothing"
    await configured(model_id=OTHER)(bench, service_id)


async def _forget(bench: BatchBench, _: str) -> None:
    await forget_runs(bench.database, bench.drivers, 0, bench.clock.now_ms())


OPERATIONS = (
    Operation("create", _create, ("finished",), start=None),
    Operation("a driver is lost", _create_unlucky, ("finished",), start=None),
    Operation("end", _nothing, ("finished",)),
    Operation("stop", _stop, ("stopped",), "stopped"),
    Operation("delete", _delete, None),
    Operation("more instances", _more, ("finished",), log="SUCCESS"),
    Operation(
        "other input",
        configured(src_path="obs://inbox/others/"),
        ("replaced", "finished"),
        log="SUCCESS",
    ),
    Operation("other model", configured(model_id=OTHER), ("replaced", "finished"), log="SUCCESS"),
    Operation("broken model", _broken, ("replaced", "failed"), "failed", log="FAIL"),
    Operation("start again", _start, ("finished", "finished"), start="finished"),
    Operation("retry", _retry, ("finished", "finished"), start="finished"),
    Operation("forget", _forget, ("finished",), start="finished"),
)


@dataclass(frozen=True)
class Scene:
    home: Path
    lasting: Lasting
    subject: str


async def _prepare(home: Path, start: str | None) -> Scene:
    async with loop_bench(home) as made:
        await add_models(made.database)
    bench = BatchBench.__new__(BatchBench)
    bench.drivers = MortalDrivers()
    Mortal.__init__(bench, home)
    bench.take((World(), StrictGateway(), FakeClock(), MortalDrivers()))
    subject = ""
    if start is not None:
        subject = await create(bench, job(count=2), service_name="subject")
        if start == "running":
            bench.drivers.endless = {run.task_id for run in await runs_of(bench, subject)}
            await bench.settle(subject, until="running")
        else:
            await bench.rest()
    await bench.database.close()
    lasting = (bench.runtime, bench.gateway, bench.clock, bench.drivers)
    return Scene(home, lasting, subject)


Scenes = Mapping[str | None, Scene]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    starts = {operation.start for operation in OPERATIONS}
    return {
        start: asyncio.run(_prepare(tmp_path_factory.mktemp(f"scene-{start}"), start))
        for start in starts
    }


@asynccontextmanager
async def on_stage(home: Path, scene: Scene) -> AsyncIterator[Callable[[], Awaitable[BatchBench]]]:
    """Gives what sets the scene, again and again, as it was prepared."""
    shutil.copytree(scene.home, home)
    bench = BatchBench.__new__(BatchBench)
    bench.drivers = MortalDrivers()
    Mortal.__init__(bench, home)

    async def set_up() -> BatchBench:
        await bench.database.engine.dispose()
        for path in home.glob("modelyard.db*"):
            path.unlink()
        shutil.copy(scene.home / "modelyard.db", home)
        bench.take(copy.deepcopy(scene.lasting))
        return bench

    try:
        yield set_up
    finally:
        await bench.database.close()


async def operate(
    bench: BatchBench, operation: Operation, subject: str, *deaths: int
) -> list[Step]:
    """Operate, dying after that many steps of each life; gives the steps of the first."""
    with counted(bench, deaths[0] if deaths else None) as steps:
        await operation.act(bench, subject)
        await bench.rest()
    for left in (*deaths[1:], None) if bench.life.dead else ():
        await bench.restart()
        with counted(bench, left):
            await bench.rest()
    assert not bench.life.dead or not deaths, "the last life was to go on"
    return steps


async def judge(bench: BatchBench, operation: Operation) -> None:
    """What is true in the end, whatever happened in between."""
    bench.clock.pass_ms(GRACE_MS)
    await end_orphan_runs(bench.database, bench.drivers)
    async with bench.database.read() as session:
        living = list(await session.scalars(select(Instance).where(Instance.ended_at.is_(None))))
        services = list(await session.scalars(select(Service)))
        logs = list(await session.scalars(select(UpdateLog)))
        runs = list(await session.scalars(select(BatchRun).order_by(BatchRun.created_at)))
    assert living == []
    assert bench.runtime.specs == {}
    assert bench.drivers.alive == set()
    assert bench.gateway.traffic == {}
    assert [log for log in logs if log.result == "RUNNING" or log.closed_at is None] == []
    if operation.outcomes is None:
        assert (services, runs, bench.drivers.specs) == ([], [], {})
        return
    [service] = services
    assert service.status == operation.status
    assert tuple(run.outcome for run in runs) == operation.outcomes
    assert all(run.closed_at for run in runs)
    assert set(bench.drivers.specs) <= {run.task_id for run in runs}
    if operation.log:
        assert [log.result for log in logs] == [operation.log]
    if operation.name == "retry":
        assert runs[1].retry_of == runs[0].task_id
    if operation.name == "forget":
        assert bench.drivers.specs == {}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_dying_after_each_step_of_a_run(
    operation: Operation, scenes: Scenes, tmp_path: Path
) -> None:
    scene = scenes[operation.start]
    chance = random.Random(operation.name)
    async with on_stage(tmp_path / "home", scene) as set_up:
        bench = await set_up()
        steps = await operate(bench, operation, scene.subject)
        await judge(bench, operation)
        print(operation.name, *steps)
        for number, step in enumerate(steps, 1):
            again = [chance.randint(1, len(steps))] if number % 2 else []
            bench = await set_up()
            try:
                await operate(bench, operation, scene.subject, number, *again)
                if step is Step.RUN_FORGET:
                    await operation.act(bench, scene.subject)  # It is called every ten minutes.
                await judge(bench, operation)
            except AssertionError as error:
                told = f"died after {step} (step {number}, then {again}): {error}"
                raise AssertionError(told) from error


async def test_every_step_of_runs_is_died_after(scenes: Scenes, tmp_path: Path) -> None:
    seen: set[Step] = set()
    for index, operation in enumerate(OPERATIONS):
        scene = scenes[operation.start]
        async with on_stage(tmp_path / str(index), scene) as set_up:
            seen |= set(await operate(await set_up(), operation, scene.subject))
    mine = {step for step in Step if step.startswith("run.")}
    assert sorted(mine - seen - set(ELSEWHERE)) == []
    assert sorted(mine & seen & set(ELSEWHERE)) == []
