"""The control plane dies after each persisted step of each operation, over the world in memory.

Every step that an operation reaches is recorded first; then one run dies after the first of them,
the next after the second, and so on, and a second time at random after the restart. What comes of
it must be the same as without. ``tests/crash`` does it with real processes.
"""

from __future__ import annotations

import asyncio
import copy
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from loop_support import AUTHOR, M1, M2, Bench, loop_bench, version
from modelyard.control.changes.service_changes import ServiceChanges
from modelyard.control.maintenance.orphans import end_orphans
from modelyard.control.maintenance.restore import present_traffic
from modelyard.control.maintenance.retention import forget
from modelyard.control.reconciler.health import MISSES_ALLOWED, HealthWatch
from modelyard.control.reconciler.reconcile import reconcile
from modelyard.domain.rollout.instance import InstanceSpec, Phase
from modelyard.domain.service.traffic import ServiceTraffic
from modelyard.settings import Settings
from modelyard.steps import Step, listening
from modelyard.store.database import Database
from modelyard.store.service import leases
from modelyard.store.tables.service import Instance, Service, UpdateLog
from modelyard.testing.clock import FakeClock
from modelyard.testing.gateway import FakeGateway
from modelyard.testing.runtime import FakeRuntime

NOT_HERE: dict[Step, str] = {
    Step.INSTANCE_FOLDER: "only real instances have a folder: tests/crash",
    Step.INSTANCE_LIMITS: "only real instances are shut in: tests/crash",
    Step.INSTANCE_LAUNCHED: "only real instances have a record: tests/crash",
    Step.INSTANCE_REMOVE: "only real instances have a folder: tests/crash",
    Step.GATEWAY_TARGETS: "only Envoy is told in two parts: tests/crash",
    Step.COUNTERS: "counts predictions, which no operation waits for: tests/crash",
    Step.LEASES_FREED: "a start of the control plane: every run here makes one",
    Step.ADMIN: "a start of the control plane, the first one",
    Step.SERVICE_TAG: "one transaction that changes nothing else",
    Step.REPORT: "written after an update has closed; what it tells is not acted upon",
    Step.TEST: "written by tests",
} | dict.fromkeys(
    (
        Step.MODEL_CREATE,
        Step.MODEL_DELETE,
        Step.IMPORT_BEGIN,
        Step.IMPORT_PUBLISH,
        Step.IMPORT_FAIL,
        Step.IMPORT_BUILD,
        Step.IMPORT_PROGRESS,
        Step.ENVIRONMENT_BUILT,
        Step.ENVIRONMENT_REMOVED,
        Step.ENVIRONMENT_RENEWED,
    ),
    "models, not services: test_models_api.py, test_import_crash.py",
)
NOT_HERE |= dict.fromkeys(
    [step for step in Step if step.startswith("container.")],
    "only real containers: tests/crash/test_container_crash_points.py",
)
NOT_HERE |= dict.fromkeys(
    [step for step in Step if step.startswith("run.")],
    "runs of batch services: test_batch_crash_in_memory.py",
)
NOT_HERE |= dict.fromkeys(
    [step for step in Step if step.startswith("batch.")],
    "of a batch run's driver: tests/batch/test_batch_crash_points.py",
)
NOT_HERE |= dict.fromkeys(
    (Step.PROJECT_CREATE, Step.USER_CREATE, Step.ROLE_GRANT, Step.ROLE_REVOKE),
    "users and projects: one transaction each",
)


class Died(BaseException):
    """What SIGKILL is to a process: nothing below it catches this."""


@dataclass
class Life:
    """Of the process that is to die after ``left`` more steps (None: it lives)."""

    left: int | None = None
    dead: bool = False
    steps: list[Step] = field(default_factory=list)

    def reached(self, step: Step) -> None:
        self.steps.append(step)
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                self.dead = True
        self.act()

    def act(self) -> None:
        """Whatever a process does, it must be alive for it; also in a ``finally``."""
        if self.dead:
            raise Died


class MortalDatabase(Database):
    def __init__(self, url: str, life: Life) -> None:
        super().__init__(url)
        self.life = life

    @asynccontextmanager
    async def write(self, step: Step) -> AsyncIterator[AsyncSession]:
        self.life.act()
        async with super().write(step) as session:
            yield session


class World(FakeRuntime):
    """Instances that outlive the control plane. ``refusals``: starts that fail with an OSError."""

    life: Life
    refusals: int = 0

    async def start(self, spec: InstanceSpec) -> None:
        self.life.act()
        if self.refusals:
            self.refusals -= 1
            raise OSError("no more processes")
        await super().start(spec)

    async def drain(self, instance_id: str) -> None:
        self.life.act()
        await super().drain(instance_id)

    async def stop(self, instance_id: str) -> None:
        self.life.act()
        await super().stop(instance_id)


class StrictGateway(FakeGateway):
    """Believes no one: an endpoint that is not ready, or a service left with none, is an error."""

    life: Life
    world: World
    always: set[str]

    async def publish(self, traffic: ServiceTraffic) -> str:
        self.life.act()
        self.judge(traffic)
        return await super().publish(traffic)

    async def withdraw(self, service_id: str) -> None:
        self.life.act()
        await super().withdraw(service_id)

    def judge(self, traffic: ServiceTraffic) -> None:
        ids = [e.instance_id for v in traffic.versions if v.weight for e in v.endpoints]
        unready = [i for i in ids if self.world.phases.get(i) is not Phase.READY]
        assert not unready, f"traffic to {unready}"
        assert ids or traffic.service_id not in self.always, "a running service lost its instances"


class Mortal(Bench):
    """A bench whose control plane dies and is started again."""

    runtime: World
    gateway: StrictGateway

    def __init__(self, home: Path) -> None:
        self.life = Life()
        self.settings = Settings(home=home)
        super().__init__(self.settings, MortalDatabase(self.settings.database, self.life))
        self.enter((World(), StrictGateway(), FakeClock()))

    def enter(self, world: tuple[World, StrictGateway, FakeClock]) -> None:
        self.runtime, self.gateway, self.clock = world
        self.life.dead, self.life.left = False, None
        self.runtime.life = self.gateway.life = self.life
        self.gateway.world, self.gateway.always = self.runtime, set()
        self.boot()

    def boot(self) -> None:
        self.parts = replace(
            self.parts, clock=self.clock, runtime=self.runtime, gateway=self.gateway
        )
        self.changes = ServiceChanges(self.settings, self.database, self.clock)
        self.watch = HealthWatch(self.database, self.clock, self.runtime, lambda _: None)

    async def restart(self) -> None:
        """What ``platform`` does before its loop runs."""
        self.life.dead = False
        self.clock.pass_ms(300)
        self.boot()
        async with self.database.write(Step.LEASES_FREED) as session:
            await leases.release_all_of(session, self.parts.node)
        for traffic in await present_traffic(
            self.settings, self.database, self.clock, self.runtime
        ):
            self.gateway.judge(traffic)
            self.gateway.traffic[traffic.service_id] = traffic
        await end_orphans(self.database, self.runtime)

    async def rest(self) -> None:
        """Passes over all services as the loop would make them, until nothing is due soon."""
        due: dict[str, int] = dict.fromkeys(await self.all_services(), 0)
        for _ in range(200):
            service_id = min(due, key=due.__getitem__, default="")
            if not service_id or due[service_id] > self.clock.now + 60_000:
                return
            self.clock.now = max(self.clock.now + 1, due[service_id])
            at = await reconcile(self.parts, service_id)
            if at is None:
                del due[service_id]
            else:
                due[service_id] = at
        raise AssertionError("the services do not come to rest")

    async def all_services(self) -> list[str]:
        async with self.database.read() as session:
            return list(await session.scalars(select(Service.id).order_by(Service.id)))


@contextmanager
def counted(bench: Mortal, left: int | None) -> Iterator[list[Step]]:
    """Steps are counted in the block; after ``left`` of them the process dies, and so ends it."""
    bench.life.steps, bench.life.left = [], left
    with listening(bench.life.reached):
        try:
            yield bench.life.steps
        except Died:
            pass
        finally:
            bench.life.left = None


# -- operations --------------------------------------------------------------------------------

Act = Callable[[Mortal, str], Awaitable[object]]


@dataclass(frozen=True)
class Operation:
    """``act`` on a service that runs M1 (or is ``stopped``, or None: is made by it).

    ``config`` (model, weight, count) and ``status`` are what must be true in the end; None: gone.
    ``log`` is what the newest update log must say. ``keeps``: it may never be without instances.
    """

    name: str
    act: Act
    config: tuple[tuple[str, int, int], ...] | None
    status: str = "running"
    start: str | None = "running"
    log: str = ""
    keeps: bool = True


def put(**body: object) -> Act:
    async def act(bench: Mortal, service_id: str) -> None:
        await bench.update(service_id, **body)

    return act


def configured(*versions: tuple[str, int, int], **more: object) -> Act:
    return put(config=[version(m, w, n, **more) for m, w, n in versions])


async def _create(bench: Mortal, _: str) -> None:
    await bench.create(version(M1, 100, 2), service_name="made")


async def _delete(bench: Mortal, service_id: str) -> None:
    await bench.changes.delete(AUTHOR, [service_id])


async def _broken(bench: Mortal, service_id: str) -> None:
    bench.runtime.broken[M2] = "ImportError: no module named nothing"
    await configured((M2, 100, 1))(bench, service_id)


async def _no_process(bench: Mortal, service_id: str) -> None:
    bench.runtime.refusals = 1
    await configured((M1, 100, 3))(bench, service_id)


async def _gateway_away(bench: Mortal, service_id: str) -> None:
    await configured((M1, 40, 2), (M2, 60, 1))(bench, service_id)
    bench.gateway.away = True
    try:
        await reconcile(bench.parts, service_id)
        bench.clock.pass_ms(100)
        await reconcile(bench.parts, service_id)
    finally:
        bench.gateway.away = False


async def _unhealthy(bench: Mortal, service_id: str) -> None:
    victim = sorted(bench.gateway.endpoints(service_id))[0]
    bench.runtime.messages[victim] = "no answer to GET /health"
    for _ in range(MISSES_ALLOWED):
        await bench.watch.check()


async def _loses_its_worker(bench: Mortal, service_id: str) -> None:
    victim = sorted(bench.gateway.endpoints(service_id))[0]
    bench.runtime.losses[victim] = (1, "out of memory")
    await bench.watch.check()


async def _forget(bench: Mortal, _: str) -> None:
    await forget(bench.database, bench.clock.now_ms())


SAME = ((M1, 100, 2),)
BOTH = ((M1, 40, 2), (M2, 60, 1))
OPERATIONS = (
    Operation("create", _create, SAME, start=None),
    Operation("weights", configured((M1, 100, 2), (M2, 0, 1)), ((M1, 100, 2), (M2, 0, 1))),
    Operation("second version", configured(*BOTH), BOTH, log="SUCCESS"),
    Operation("more", configured((M1, 100, 4)), ((M1, 100, 4),), log="SUCCESS"),
    Operation("fewer", configured((M1, 100, 1)), ((M1, 100, 1),), log="SUCCESS"),
    Operation("new version", configured((M2, 100, 2)), ((M2, 100, 2),), log="SUCCESS"),
    Operation("envs", configured((M1, 100, 2), envs={"A": "1"}), SAME, log="SUCCESS"),
    Operation("broken version", _broken, SAME, log="FAIL"),
    Operation("no process", _no_process, ((M1, 100, 3),), log="SUCCESS"),
    Operation("gateway away", _gateway_away, BOTH, log="SUCCESS"),
    Operation("unhealthy", _unhealthy, SAME),
    Operation("worker lost", _loses_its_worker, SAME),
    Operation("stop", put(status="stopped"), SAME, "stopped", keeps=False),
    Operation("start", put(status="running"), SAME, start="stopped", keeps=False),
    Operation("delete", _delete, None, keeps=False),
    Operation("forget", _forget, SAME),
)


@dataclass(frozen=True)
class Scene:
    """What an operation finds: a steady service, and the one to operate on ("": none yet)."""

    home: Path
    world: tuple[World, StrictGateway, FakeClock]
    steady: str
    subject: str


async def _prepare(home: Path, start: str | None) -> Scene:
    async with loop_bench(home):
        pass
    bench = Mortal(home)
    steady = await bench.create(version(M2, 100), service_name="steady")
    subject = ""
    if start is not None:
        subject = await bench.create(version(M1, 100, 2), service_name="subject")
    await bench.rest()
    if start == "stopped":
        await bench.update(subject, status="stopped")
        await bench.rest()
    await bench.database.close()
    return Scene(home, (bench.runtime, bench.gateway, bench.clock), steady, subject)


Scenes = Mapping[str | None, Scene]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    starts = {operation.start for operation in OPERATIONS}
    return {
        start: asyncio.run(_prepare(tmp_path_factory.mktemp(f"scene-{start}"), start))
        for start in starts
    }


@asynccontextmanager
async def on_stage(home: Path) -> AsyncIterator[Callable[[Operation, Scene], Awaitable[Mortal]]]:
    """Gives what sets a scene, again and again, as it was prepared.

    All share one engine, which has compiled its statements then.
    """
    bench: Mortal | None = None

    async def set_up(operation: Operation, scene: Scene) -> Mortal:
        nonlocal bench
        if bench is None:
            shutil.copytree(scene.home, home)
            bench = Mortal(home)
        await bench.database.engine.dispose()
        for path in home.glob("modelyard.db*"):
            path.unlink()
        shutil.copy(scene.home / "modelyard.db", home)
        bench.enter(copy.deepcopy(scene.world))
        bench.gateway.always = {scene.steady}
        if operation.keeps and scene.subject:
            bench.gateway.always.add(scene.subject)
        return bench

    try:
        yield set_up
    finally:
        if bench is not None:
            await bench.database.close()


async def operate(bench: Mortal, operation: Operation, subject: str, *deaths: int) -> list[Step]:
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


async def judge(bench: Mortal, operation: Operation) -> None:
    """What is true in the end, whatever happened in between."""
    async with bench.database.read() as session:
        rows = list(await session.scalars(select(Instance).where(Instance.ended_at.is_(None))))
        services = {s.name: s for s in await session.scalars(select(Service))}
        logs = list(await session.scalars(select(UpdateLog).order_by(UpdateLog.update_time)))
    assert {row.id for row in rows} == set(bench.runtime.specs), "rows and instances differ"
    assert all(service.lock_token is None for service in services.values())
    assert [log for log in logs if log.result == "RUNNING" or log.closed_at is None] == []
    if operation.log:
        assert logs[-1].result == operation.log
    steady = services.pop("steady")
    assert steady.status == "running"
    assert len(bench.gateway.endpoints(steady.id)) == 1
    if operation.config is None:
        assert services == {}
        assert set(bench.gateway.traffic) == {steady.id}
        return
    [subject] = services.values()
    assert (subject.status, subject.error_msg) == (operation.status, "")
    mine = [row for row in rows if row.service_id == subject.id]
    if operation.status == "stopped":
        assert mine == []
        return
    wanted = {m: n for m, _, n in operation.config}
    assert {m: sum(r.model_id == m for r in mine) for m in wanted} == wanted
    assert len(mine) == sum(wanted.values())
    assert bench.gateway.endpoints(subject.id) == {row.id for row in mine}
    weights: dict[str, int] = {}
    for one in bench.gateway.traffic[subject.id].versions:
        weights[one.model_id] = weights.get(one.model_id, 0) + one.weight
    assert weights == {m: w for m, w, _ in operation.config}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_dying_after_each_step(operation: Operation, scenes: Scenes, tmp_path: Path) -> None:
    scene = scenes[operation.start]
    chance = random.Random(operation.name)
    async with on_stage(tmp_path / "home") as set_up:
        bench = await set_up(operation, scene)
        steps = await operate(bench, operation, scene.subject)
        await judge(bench, operation)
        print(operation.name, *steps)
        for number, step in enumerate(steps, 1):
            again = [chance.randint(1, len(steps))] if number % 2 else []
            bench = await set_up(operation, scene)
            try:
                await operate(bench, operation, scene.subject, number, *again)
                await judge(bench, operation)
            except AssertionError as error:
                told = f"died after {step} (step {number}, then {again}): {error}"
                raise AssertionError(told) from error


async def test_every_step_is_died_after_or_has_a_reason(scenes: Scenes, tmp_path: Path) -> None:
    seen: set[Step] = set()
    async with on_stage(tmp_path / "home") as set_up:
        for operation in OPERATIONS:
            scene = scenes[operation.start]
            bench = await set_up(operation, scene)
            seen |= set(await operate(bench, operation, scene.subject))
    assert sorted(set(Step) - seen - set(NOT_HERE)) == [], "no operation here reaches these"
    assert sorted(seen & set(NOT_HERE)) == [], "these are reached after all"
