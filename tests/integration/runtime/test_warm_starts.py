"""Instances forked from a zygote: as any other, and strangers to their siblings."""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from instance_support import (
    DEADLINE_S,
    ask_instance,
    instance_spec,
    until_ready,
    wait_for,
    write_package,
)
from modelyard import processes
from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec
from modelyard.processes import ProcessIdentity
from modelyard.runtime.limits import groups
from modelyard.runtime.limits.instance_limits import Limits, take_away
from modelyard.runtime.local.local_runtime import LocalRuntime
from modelyard.runtime.local.sweep import marked
from modelyard.runtime.local.zygotes import WarmStarts, end_all, zygotes
from modelyard_instance.sandbox.confine import read_confinement
from modelyard_instance.state import start_ticks

TELLTALE = """
import os, random, signal, sys, threading
import numpy
from model_service.model_service import SingleNodeService
class Telltale(SingleNodeService):
    def inference(self, data):
        if data.get("die"):
            os.abort()
        while data.get("loop"):
            pass
        fds = {}
        for one in os.listdir("/proc/self/fd"):
            try:
                fds[one] = os.readlink(f"/proc/self/fd/{one}")
            except OSError:
                pass
        return {
            "pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0),
            "session": os.getsid(0), "cwd": os.getcwd(), "environment": dict(os.environ),
            "random": random.random(), "numpy": float(numpy.random.rand()),
            "threads": threading.active_count(), "tasks": len(os.listdir("/proc/self/task")),
            "fds": fds, "path": sys.path, "argv": sys.argv,
            "uids": [*os.getresuid(), *os.getresgid()], "home": os.path.exists(HOME),
            "privileges": [
                one for one in open("/proc/self/status").read().splitlines()
                if one.startswith(("Cap", "NoNewPrivs", "Groups"))
            ],
            "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
            "chld": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
        }
"""


class Yard:
    """A runtime with warm starts, in a folder with a short name, so that sockets fit."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="warm-"))
        self.sockets = self.root / "s"
        self.sockets.mkdir()
        self.warm = WarmStarts(self.sockets, self.root / "logs")
        self.runtime = LocalRuntime(self.root / "instances", self.root / "logs", warm=self.warm)
        script = TELLTALE.replace("HOME", repr(str(self.root / "logs")))
        self.package = write_package(self.root / "package", script)

    def spec(self, name: str, **more: Any) -> InstanceSpec:
        return instance_spec(name, self.root, self.package, **more)

    async def ready(self, spec: InstanceSpec) -> InstanceReport:
        return await until_ready(self.runtime, spec)

    async def zygote(self, engine: str = "Scikit_Learn") -> ProcessIdentity:
        """The zygote of ``engine``, once it listens."""
        self.warm.prepare(engine)
        async with asyncio.timeout(DEADLINE_S):
            while not self.warm.socket_of(engine).exists():
                await asyncio.sleep(0.01)
        (found,) = zygotes(self.sockets)
        return found


@pytest.fixture
async def yard() -> AsyncIterator[Yard]:
    yard = Yard()
    yield yard
    for report in await yard.runtime.list():
        await yard.runtime.stop(report.instance_id)
    yard.runtime.close()
    await end_all(yard.sockets)
    assert zygotes(yard.sockets) == []
    shutil.rmtree(yard.root)


def is_forked(report: InstanceReport) -> bool:
    return b"modelyard_instance.zygotes.zygote" in Path(f"/proc/{report.pid}/cmdline").read_bytes()


async def test_the_first_start_is_plain_and_the_next_is_forked(yard: Yard) -> None:
    first = await yard.ready(yard.spec("a"))
    assert not is_forked(first)
    zygote = await yard.zygote()
    second = await yard.ready(yard.spec("b"))
    assert is_forked(second)
    assert ask_instance(first).json()["parent"] == first.pid
    seen = ask_instance(second).json()
    spec = yard.spec("b")
    assert seen["pid"] in marked(spec.instance_id)
    assert zygote.pid not in marked(spec.instance_id)

    # Everything ends as if it had been started plainly.
    await yard.runtime.stop(spec.instance_id)
    assert marked(spec.instance_id) == []
    assert processes.alive(zygote)


async def test_nothing_leaks_between_siblings(yard: Yard) -> None:
    cold = ask_instance(await yard.ready(yard.spec("cold"))).json()
    zygote = await yard.zygote()
    specs = [
        yard.spec(name, envs={"SECRET": f"of {name}", "ONLY_" + name: "1"}) for name in ("a", "b")
    ]
    reports = [await yard.ready(spec) for spec in specs]
    seen = [ask_instance(report).json() for report in reports]
    folder = yard.root / "instances"
    for spec, report, one in zip(specs, reports, seen, strict=True):
        assert is_forked(report)
        # A worker of a plain start has the same environment, threads, descriptors and handlers.
        for name in ("threads", "tasks", "term", "chld", "argv"):
            assert one[name] == cold[name], name
        assert one["path"][0] == cold["path"][0]
        # Beside what the imports of the engine have set.
        known = {*cold["environment"], *spec.envs}
        assert {name for name in one["environment"] if not name.startswith("KMP_")} == known
        assert one["environment"]["SECRET"] == spec.envs["SECRET"]
        assert one["environment"]["MODELYARD_INSTANCE_ID"] == spec.instance_id
        assert one["cwd"] == one["environment"]["HOME"] == str(folder / spec.instance_id / "work")
        kinds = sorted(target.partition(":")[0] for target in one["fds"].values())
        assert kinds == sorted(target.partition(":")[0] for target in cold["fds"].values())
        assert one["group"] == one["pid"]
        assert one["session"] == report.pid
        environ = Path(f"/proc/{one['pid']}/environ").read_bytes()
        assert b"SECRET" not in environ
    first, second = seen
    for name in ("random", "numpy", "session", "cwd"):
        assert first[name] != second[name], name
    sockets = [{t for t in one["fds"].values() if t.startswith(("socket", "pipe"))} for one in seen]
    assert not sockets[0] & sockets[1]
    held = {os.readlink(one) for one in Path(f"/proc/{zygote.pid}/fd").iterdir()}
    assert not held & (sockets[0] | sockets[1])

    # One sibling's end is nothing to the other, nor the zygote's to either.
    assert reports[0].pid is not None
    os.kill(reports[0].pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{first['pid']}").exists(), "the worker to die with its front")
    await end_all(yard.sockets)
    assert ask_instance(reports[1]).json()["pid"] == second["pid"]


async def test_a_worker_that_dies_is_told_and_replaced_by_another_fork(yard: Yard) -> None:
    await yard.zygote()
    report = await yard.ready(yard.spec("a", request_timeout_s=1.0))
    before = ask_instance(report).json()
    lost = ask_instance(report, die=True)
    assert lost.status_code == 500
    assert "SIGABRT" in lost.json()["error_msg"]
    report = await yard.ready(yard.spec("a"))
    after = ask_instance(report).json()
    assert after["pid"] != before["pid"]
    assert after["parent"] == before["parent"]
    assert after["random"] != before["random"]

    assert ask_instance(report, loop=True).status_code == 504
    wait_for(lambda: not Path(f"/proc/{after['pid']}").exists(), "the end of the looping worker")
    report = await yard.ready(yard.spec("a"))

    # Without its nursery the front starts workers plainly.
    parent = ask_instance(report).json()["parent"]
    os.kill(parent, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{parent}").exists() or _zombie(parent), "its end")
    async with asyncio.timeout(DEADLINE_S):
        while (answer := ask_instance(report)).status_code != 200:
            await asyncio.sleep(0.02)
    assert answer.json()["parent"] == report.pid


def _zombie(pid: int) -> bool:
    return processes.identify(pid) is None


async def test_variables_that_come_too_late_for_a_fork_start_the_worker_plainly(yard: Yard) -> None:
    await yard.zygote()
    report = await yard.ready(yard.spec("a", envs={"OMP_NUM_THREADS": "3"}))
    seen = ask_instance(report).json()
    assert is_forked(report)
    assert seen["parent"] == report.pid
    assert seen["environment"]["OMP_NUM_THREADS"] == "3"


async def test_a_model_is_loaded_and_predicts_the_same(yard: Yard) -> None:
    flowers, kinds = load_iris(return_X_y=True)
    package = write_package(yard.root / "iris", None, model_type="Scikit_Learn")
    model = LogisticRegression(max_iter=1000).fit(flowers, kinds)
    (package / "model" / "iris.pkl").write_bytes(pickle.dumps(model))
    await yard.zygote()
    report = await yard.ready(yard.spec("a", package_dir=str(package), cpu=2.0))
    rows = flowers[::10].tolist()
    answer = httpx.post(f"http://127.0.0.1:{report.port}/", json={"req_data": rows})
    found = [one["predictresult"] for one in answer.json()["resp_data"]]
    assert found == model.predict(flowers[::10]).tolist()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its processes other users")
async def test_a_fork_is_shut_in_as_a_plain_start_is(yard: Yard) -> None:
    run = yard.root / "run"
    run.mkdir()
    held = Limits(
        node=f"{os.getpid():08x}",
        home=yard.root,
        instances_dir=yard.root / "instances",
        run_dir=run,
        ids=range(60_000, 65_000),
        pids=64,
    )
    found = held.find()
    yard.runtime = LocalRuntime(
        yard.root / "instances", yard.root / "logs", warm=yard.warm, limits=held
    )
    try:
        cold = ask_instance(await yard.ready(yard.spec("cold"))).json()
        await yard.zygote()
        report = await yard.ready(yard.spec("a", request_timeout_s=20.0))
        seen = ask_instance(report).json()
        assert is_forked(report)
        for name in ("uids", "privileges", "threads", "term", "home"):
            assert (seen[name] == cold[name]) is (name != "uids"), name
        assert set(seen["uids"]) <= set(range(60_000, 65_000))
        plan = read_confinement(yard.root / "instances" / yard.spec("a").instance_id)
        assert plan is not None
        assert bool(plan.groups) is bool(found.parents)
        for group in plan.groups:
            assert {seen["pid"], report.pid} <= set(groups.pids_in(Path(group)))
        # Another user's process still dies with its front, also while it computes.
        with pytest.raises(httpx.TransportError):
            await asyncio.gather(
                asyncio.to_thread(ask_instance, report, loop=True), asyncio.to_thread(_kill, report)
            )
        wait_for(lambda: not marked(yard.spec("a").instance_id), "the end of all of it")
    finally:
        for one in await yard.runtime.list():
            await yard.runtime.stop(one.instance_id)
        take_away(run)


def _kill(report: InstanceReport) -> None:
    url = f"http://127.0.0.1:{report.port}/health"
    wait_for(lambda: httpx.get(url).json()["inflight"] == 1, "the call to be under way")
    assert report.pid is not None
    os.kill(report.pid, signal.SIGKILL)


async def test_another_runtime_finds_the_zygote_again(yard: Yard) -> None:
    zygote = await yard.zygote()
    again = WarmStarts(yard.sockets, yard.root / "logs")
    again.prepare("Scikit_Learn")
    assert zygotes(yard.sockets) == [zygote]
    other = LocalRuntime(yard.root / "instances", yard.root / "logs", warm=again)
    yard.runtime.close()
    yard.runtime = other
    report = await yard.ready(yard.spec("a"))
    assert is_forked(report)
    assert report.pid is not None
    recorded = processes.read_record(
        yard.root / "instances" / yard.spec("a").instance_id / "process.json"
    )
    assert recorded == ProcessIdentity(report.pid, start_ticks(report.pid))


async def test_an_engine_that_cannot_be_forked_is_started_plainly(yard: Yard) -> None:
    path = yard.warm.socket_of("Scikit_Learn")
    path.touch()
    report = await yard.ready(yard.spec("a"))
    assert not is_forked(report)
    assert (
        yard.warm.launch(
            "Scikit_Learn", "x" * 200, folder=yard.root, environment={}, log=yard.root / "log"
        )
        is None
    )
