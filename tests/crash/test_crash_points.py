"""SIGKILL after each persisted step of each operation on a service, on the real stack (R2).

``MODELYARD_CRASH_POINTS=all`` kills at every point; without it, at a selection that has every step
and every operation. All points share one stack; only the control plane is started again. A steady
service is predicted all the time, and so is the one that is updated: neither may lose one.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from footprint import footprint
from live import Json, create, delete, entry, get, import_echo, load, path, put, show, until
from loadrun import LoadRun
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.tables.service import Instance
from preloaded import Preloaded
from stack import Stack

S = Step
RATE = 60

NOT_HERE: dict[Step, str] = {
    S.PASS_START_FAILED: "needs a machine without processes: test_crash_in_memory.py",
    S.PASS_RELEASE: "needs a gateway that is away: test_crash_in_memory.py",
    S.HEALTH_END: "no operation, but an instance that hangs: test_crash_in_memory.py",
    S.HEALTH_LOSS: "no operation, but a model whose process dies: test_crash_in_memory.py",
    S.RETENTION: "no operation, but the clock: test_crash_in_memory.py",
    S.LEASES_FREED: "a start of the control plane",
    S.ADMIN: "a start of the control plane, the first one",
    S.SERVICE_TAG: "one transaction that changes nothing else",
    S.TEST: "written by tests",
} | dict.fromkeys(
    (
        S.MODEL_CREATE,
        S.MODEL_DELETE,
        S.IMPORT_BEGIN,
        S.IMPORT_PUBLISH,
        S.IMPORT_FAIL,
        S.IMPORT_BUILD,
        S.IMPORT_PROGRESS,
        S.ENVIRONMENT_BUILT,
        S.ENVIRONMENT_REMOVED,
        S.ENVIRONMENT_RENEWED,
        S.PROJECT_CREATE,
        S.USER_CREATE,
        S.ROLE_GRANT,
        S.ROLE_REVOKE,
    ),
    "not of services",
)
NOT_HERE |= dict.fromkeys(
    [step for step in Step if step.startswith("container.")],
    "of custom images: test_container_crash_points.py",
)
NOT_HERE |= dict.fromkeys(
    [step for step in Step if step.startswith("run.")],
    "of batch services: test_batch_service_points.py",
)
NOT_HERE |= dict.fromkeys(
    [step for step in Step if step.startswith("batch.")],
    "of a batch run's driver: tests/batch/test_batch_crash_points.py",
)


@dataclass(frozen=True)
class Point:
    """The control plane dies right after the ``nth`` time that it reaches ``step``."""

    step: Step
    nth: int = 1

    def __str__(self) -> str:
        return str(self.step) + (f":{self.nth}" if self.nth > 1 else "")


class World:
    """A stack with a preloaded control plane, two models, and a steady service under load."""

    def __init__(self, stack: Stack, control: Preloaded, models: list[str]) -> None:
        self.stack, self.control, self.models = stack, control, models
        self.files: frozenset[str] = frozenset()
        self.loads: list[LoadRun] = []
        self.deaths = 0

    def living(self) -> dict[str, str]:
        """The service of each instance on record."""

        async def read() -> dict[str, str]:
            settings = {
                name.removeprefix("MODELYARD_").lower(): value
                for name, value in self.stack.environment.items()
                if name in ("MODELYARD_HOME", "MODELYARD_DATABASE_URL")
            }
            database = Database(Settings(**settings).database)  # type: ignore[arg-type]
            try:
                async with database.read() as session:
                    alive = select(Instance.id, Instance.service_id)
                    rows = await session.execute(alive.where(Instance.ended_at.is_(None)))
                    return dict(rows.tuples().all())
            finally:
                await database.close()

        return asyncio.run(read())

    def leaks(self) -> list[str]:
        living = self.living()
        ours = {self.control.pid or 0, self.control.forker, self.stack.record("gateway").pid}
        return footprint(self.stack.home, living, ours).leaks(living, self.files)

    def judge_load(self) -> None:
        for run in self.loads:
            assert run.counters["failed"] == 0, [r for r in run.records() if not r.ok][:5]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("crash")
    with Stack(env={"MODELYARD_DRAIN_GRACE": "5"}) as stack:
        models = [import_echo(stack, folder, "point", f"{n}.0.0") for n in (1, 2)]
        with Preloaded(stack) as control:
            found = World(stack, control, models)
            steady = create(stack, [entry(models[0], 100)])
            with loaded(found, steady, folder):
                living = found.living()
                found.files = footprint(stack.home, living, ()).files | {"crash-point"}
                assert until(lambda: found.leaks() == [], 20, lambda: str(found.leaks()))
                yield found
            delete(stack, steady)
        # The stack's end looks for a control plane as `up` starts it.
        stack.up()


@contextmanager
def loaded(world: World, service_id: str, folder: Path) -> Iterator[None]:
    """Predict all the time; no prediction may fail."""
    with load(world.stack, service_id, folder, rate=RATE, connections=4) as running:
        running.wait_more(RATE // 2)
        world.loads.append(running)
        try:
            yield
        finally:
            world.loads.remove(running)
        assert running.stop().failed == []


# -- operations --------------------------------------------------------------------------------

Ask = Callable[[World, str], httpx.Response]
Holds = Callable[[World, str], bool]


@dataclass(frozen=True)
class Turn:
    """An operation, what is true when it is done, and the points that it comes by."""

    ask: Ask
    done: Holds
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Group:
    """Two operations in turn, the second leading back to where the first begins.

    ``start``: what is deployed for them (None: the first makes it); ``loaded``: it never pauses.
    """

    name: str
    forth: Turn
    back: Turn
    start: tuple[tuple[int, int, int], ...] | None
    loaded: bool = True


def config(world: World, *versions: tuple[int, int, int], **more: object) -> list[Json]:
    """(index of the model, weight, count) as the API wants it."""
    return [entry(world.models[m], w, n, **more) for m, w, n in versions]


def configures(points: tuple[Point, ...], *versions: tuple[int, int, int], **more: object) -> Turn:
    def ask(world: World, service_id: str) -> httpx.Response:
        return put(world.stack, service_id, {"config": config(world, *versions, **more)})

    def done(world: World, service_id: str) -> bool:
        found = show(world.stack, service_id)
        wanted = [{"envs": {}} | item for item in config(world, *versions, **more)]
        shown = [{key: one[key] for key in wanted[0]} for one in found["config"]]
        count = sum(owner == service_id for owner in world.living().values())
        right = sorted(shown, key=str) == sorted(wanted, key=str)
        return found["status"] == "running" and right and count == sum(n for _, _, n in versions)

    return Turn(ask, done, points)


def switches(points: tuple[Point, ...], status: str) -> Turn:
    def ask(world: World, service_id: str) -> httpx.Response:
        return put(world.stack, service_id, {"status": status})

    def done(world: World, service_id: str) -> bool:
        living = any(owner == service_id for owner in world.living().values())
        there = show(world.stack, service_id)["status"] == status
        return there and living is (status == "running")

    return Turn(ask, done, points)


NAME = "made-and-deleted"


def _named(world: World) -> str:
    found = get(world.stack, path(world.stack), service_name=NAME)["services"]
    return str(found[0]["service_id"]) if found else ""


def _ask_create(world: World, _: str) -> httpx.Response:
    body = {"service_name": NAME, "infer_type": "real-time", "config": config(world, (0, 100, 1))}
    return world.stack.client.post(path(world.stack), json=body)


def _is_made(world: World, _: str) -> bool:
    service_id = _named(world)
    return bool(service_id) and show(world.stack, service_id)["status"] == "running"


def _ask_delete(world: World, _: str) -> httpx.Response:
    return world.stack.client.delete(path(world.stack, _named(world)))


def points(*steps: Step | tuple[Step, int]) -> tuple[Point, ...]:
    return tuple(Point(*one) if isinstance(one, tuple) else Point(one) for one in steps)


_STARTING = (
    S.PASS_RECORD,
    S.INSTANCE_FOLDER,
    S.INSTANCE_LIMITS,
    S.INSTANCE_START,
    S.INSTANCE_LAUNCHED,
)
_READY = ((S.PASS_RECORD, 2), S.GATEWAY_TARGETS, S.GATEWAY_PUBLISH, S.PASS_SETTLE)
_LEAVING = (S.GATEWAY_TARGETS, S.GATEWAY_PUBLISH, S.PASS_SETTLE, S.INSTANCE_DRAIN, S.PASS_RECORD)
_GONE = (S.INSTANCE_STOP, S.INSTANCE_REMOVE)
_ROLLING = points(
    S.SERVICE_UPDATE,
    S.PASS_LEASE,
    *_STARTING,
    *_READY,
    S.INSTANCE_DRAIN,
    (S.PASS_RECORD, 3),
    *_GONE,
)
WEIGHTS = points(
    S.SERVICE_UPDATE,
    S.PASS_LEASE,
    S.GATEWAY_TARGETS,
    S.GATEWAY_PUBLISH,
    S.PASS_SETTLE,
    S.COUNTERS,
    S.REPORT,
)

GROUPS = (
    Group(
        "weights",
        configures(WEIGHTS[::2], (0, 30, 1), (1, 70, 1)),
        configures(WEIGHTS[1::2], (0, 100, 1), (1, 0, 1)),
        ((0, 100, 1), (1, 0, 1)),
    ),
    Group(
        "count",
        configures(points(S.SERVICE_UPDATE, S.PASS_LEASE, *_STARTING, *_READY), (0, 100, 2)),
        configures(points(S.SERVICE_UPDATE, S.PASS_LEASE, *_LEAVING, *_GONE), (0, 100, 1)),
        ((0, 100, 1),),
    ),
    Group(
        "version",
        configures(_ROLLING[::2], (1, 100, 1)),
        configures(_ROLLING[1::2], (0, 100, 1)),
        ((0, 100, 1),),
    ),
    Group(
        "envs",
        configures(_ROLLING[1::2], (0, 100, 1), envs={"A": "1"}),
        configures(_ROLLING[::2], (0, 100, 1), envs={"A": "2"}),
        ((0, 100, 1),),
    ),
    Group(
        "stop and start",
        switches(points(S.SERVICE_UPDATE, S.PASS_LEASE, *_LEAVING, *_GONE), "stopped"),
        switches(points(S.SERVICE_UPDATE, S.PASS_LEASE, *_STARTING, *_READY), "running"),
        ((0, 100, 1),),
        loaded=False,
    ),
    Group(
        "create and delete",
        Turn(_ask_create, _is_made, points(S.SERVICE_CREATE, S.PASS_LEASE, *_STARTING, *_READY)),
        Turn(
            _ask_delete,
            lambda world, _: not _named(world),
            points(
                S.SERVICE_DELETE,
                S.PASS_LEASE,
                S.GATEWAY_WITHDRAW,
                S.PASS_SETTLE,
                S.INSTANCE_DRAIN,
                S.PASS_RECORD,
                *_GONE,
            ),
        ),
        None,
        loaded=False,
    ),
)


def chosen() -> set[tuple[int, Point]]:
    """(identity of the turn, point) of those to be killed at in this run."""
    every = [(id(t), p) for g in GROUPS for t in (g.forth, g.back) for p in t.points]
    if os.environ.get("MODELYARD_CRASH_POINTS") == "all":
        return set(every)
    seen: set[Step] = set()
    taken: set[tuple[int, Point]] = set()
    for turn, point in every:
        first_of_turn = not any(one == turn for one, _ in taken)
        if point.step not in seen or (first_of_turn and point.step is not S.SERVICE_UPDATE):
            taken.add((turn, point))
            seen.add(point.step)
    return taken


# -- the tests ---------------------------------------------------------------------------------


def die_at(world: World, point: Point, turn: Turn, before: Holds, service_id: str) -> None:
    """Ask for the operation, die at the point, start again: it is done, or undone if unanswered."""
    control = world.control
    log_size = control.log.stat().st_size
    control.arm(point.step, point.nth)
    answered = _is_answered(lambda: turn.ask(world, service_id))
    assert control.ended(timeout=40) == -signal.SIGKILL, f"it did not die at {point}"
    assert f"crash point {point.step}" in _since(control.log, log_size), "it died of something else"
    world.deaths += 1
    control.start()

    def settled() -> bool:
        right = turn.done(world, service_id)
        return right or (not answered and before(world, service_id))

    until(settled, 60, lambda: f"{point}: neither done nor undone")
    judge(world, service_id, str(point))


def judge(world: World, service_id: str, told: str) -> None:
    """Nothing leaks, no update is left open, no prediction was lost."""
    until(lambda: world.leaks() == [], 30, lambda: f"{told}: {world.leaks()}")
    if service_id:
        logs = get(world.stack, path(world.stack, service_id, "logs"))["logs"]
        assert "RUNNING" not in {log["result"] for log in logs}, told
    world.judge_load()


def _is_answered(ask: Callable[[], httpx.Response]) -> bool:
    try:
        answer = ask()
    except httpx.TransportError:
        return False
    assert answer.status_code == 200 or answer.status_code >= 500, answer.text
    return answer.status_code == 200


def _since(log: Path, size: int) -> str:
    with log.open("rb") as file:
        file.seek(size)
        return file.read().decode(errors="replace")


def carry_out(world: World, turn: Turn, service_id: str) -> None:
    answer = turn.ask(world, service_id)
    assert answer.status_code == 200, answer.text
    until(lambda: turn.done(world, service_id), 60)
    judge(world, service_id, "without a death")


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_dying_at_each_point(group: Group, world: World, tmp_path: Path) -> None:
    wanted = chosen()
    turns = [
        (turn, [p for p in turn.points if (id(turn), p) in wanted])
        for turn in (group.forth, group.back)
    ]
    service_id, died = "", 0
    with ExitStack() as cleaned:
        if group.start is not None:
            service_id = create(world.stack, config(world, *group.start))
            cleaned.callback(delete, world.stack, service_id)
            if group.loaded:
                cleaned.enter_context(loaded(world, service_id, tmp_path))
        before: Holds = configures((), *group.start).done if group.start else group.back.done
        for number in range(max(len(found) for _, found in turns)):
            for turn, found in turns:
                if number < len(found):
                    die_at(world, found[number], turn, before, service_id)
                    died += 1
                if not turn.done(world, service_id):
                    carry_out(world, turn, service_id)
                before = turn.done
    print(f"{group.name}: died {died} times")


def test_every_step_has_a_point_or_a_reason() -> None:
    here = {point.step for group in GROUPS for t in (group.forth, group.back) for point in t.points}
    assert sorted(set(Step) - here - set(NOT_HERE)) == []
    assert sorted(here & set(NOT_HERE)) == []
    everywhere = {
        point.step
        for group in GROUPS
        for t in (group.forth, group.back)
        for point in t.points
        if (id(t), point) in chosen()
    }
    assert everywhere == here, "the selection leaves out a step"
