"""Workers forked in a package's own environment: by a process that has no rights over them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sysconfig
import tempfile
import venv
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from instance_support import DEADLINE_S, ask_instance, until_ready, wait_for, write_package
from modelyard import processes
from modelyard.domain.instance import InstanceReport, InstanceSpec
from modelyard.processes import ProcessIdentity
from modelyard.runtime import groups
from modelyard.runtime.limits import Limits, take_away
from modelyard.runtime.local import LocalRuntime
from modelyard.runtime.reserves import Reserves
from modelyard.runtime.sweep import marked
from modelyard.runtime.warm import WarmStarts, end_all, zygotes
from modelyard_instance.confine import read_confinement

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its processes other users")
TELLTALE = """
import os, random, resource, signal, sys, threading
import numpy
from model_service.model_service import SingleNodeService
KEPT = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Threads", "SigIgn", "SigBlk", "Cap")
class Telltale(SingleNodeService):
    def inference(self, data):
        if data.get("die"):
            os.abort()
        while data.get("loop"):
            pass
        found = {}
        exec(data.get("do", ""), globals(), found)
        with open("/proc/self/status") as file:
            status = {
                line.split(":")[0]: line.split()[1:]
                for line in file if line.startswith(KEPT)
            }
        fds = {}
        for one in os.listdir("/proc/self/fd"):
            try:
                fds[one] = os.readlink(f"/proc/self/fd/{one}")
            except OSError:
                pass
        with open("/proc/self/cmdline") as file:
            forked = "reserve" in file.read()
        return {
            "pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0),
            "cwd": os.getcwd(), "environment": dict(os.environ), "status": status, "fds": fds,
            "random": [random.random(), float(numpy.random.rand())], "forked": forked,
            "tasks": len(os.listdir("/proc/self/task")), "argv": sys.argv,
            "python": sys.executable, "answer": found.get("answer"),
            "limits": {
                name: resource.getrlimit(getattr(resource, name))
                for name in dir(resource) if name.startswith("RLIMIT_")
            },
        }
"""
# What foreign code might try while it is imported.
NOSY = """
import os
def tried(what):
    try:
        what()
        return "it can"
    except OSError as error:
        return type(error).__name__
with open("told", "w") as file:
    for what in (
        lambda: os.setuid(0),
        lambda: open("/proc/1/environ").read(),
        lambda: open("ROOT/secret").read(),
        lambda: os.listdir("ROOT/packages"),
    ):
        print(tried(what), file=file)
"""


class Yard:
    """A home with an environment, in a folder with a short name, so that sockets fit."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="own-"))
        self.run, self.sockets = self.root / "run", self.root / "s"
        self.instances = self.run / "instances"
        for folder in (self.instances, self.sockets):
            folder.mkdir(parents=True, mode=0o700)
        self.package = write_package(self.root / "packages" / "telltale", TELLTALE)
        self.python = environment(self.root / "environments" / "digest")
        self.warm = WarmStarts(self.sockets, self.root / "logs")
        self.runtime = self.open()

    def open(self, limits: Limits | None = None) -> LocalRuntime:
        self.runtime = LocalRuntime(
            self.instances, self.root / "logs", warm=self.warm, limits=limits
        )
        return self.runtime

    def limits(self) -> Limits:
        return Limits(
            node=f"{os.getpid():08x}",
            home=self.root,
            instances_dir=self.instances,
            run_dir=self.run,
            ids=range(60_000, 65_000),
            pids=64,
        )

    def spec(self, name: str, **more: Any) -> InstanceSpec:
        fields: dict[str, Any] = {
            "instance_id": f"{name}-{os.getpid()}-{self.root.name}",
            "service_id": "service",
            "project_id": "project",
            "model_id": "model",
            "model_name": "telltale",
            "model_version": "0.0.1",
            "model_type": "Scikit_Learn",
            "package_dir": str(self.package),
            "python": str(self.python),
            **more,
        }
        return InstanceSpec(**fields)

    async def ready(self, spec: InstanceSpec) -> InstanceReport:
        return await until_ready(self.runtime, spec)

    async def reserve(self) -> ProcessIdentity:
        """The zygote of the environment, once it listens; it was ordered by a first start."""
        path = self.reserve_socket()
        wait_for(lambda: str(path) in _listening(), "the zygote to listen")
        (found,) = [one for one in zygotes(self.sockets) if _has(one, b"reserve")]
        return found

    def reserve_socket(self) -> Path:
        """Once it has its name."""
        pattern = "warm-reserve-*.sock"
        wait_for(lambda: list(self.sockets.glob(pattern)) != [], "the zygote's socket")
        (path,) = self.sockets.glob(pattern)
        return path

    async def end(self) -> None:
        for report in await self.runtime.list():
            await self.runtime.stop(report.instance_id)
        self.runtime.close()
        await end_all(self.sockets)
        assert zygotes(self.sockets) == []
        shutil.rmtree(self.root)


def environment(folder: Path) -> Path:
    """An interpreter with what we have ourselves, as if it had been installed there."""
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "all.pth").write_text(sysconfig.get_path("purelib"))
    (folder / "environment.json").write_text(json.dumps({"wanted": ["scikit-learn==1.0"]}))
    return python


def install(python: Path, name: str, source: str) -> None:
    """Add the distribution ``name`` to the environment, as one that was asked for."""
    (packages,) = (python.parent.parent / "lib").glob("python*/site-packages")
    (packages / f"{name}.py").write_text(source)
    told = packages / f"{name}-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (told / "RECORD").write_text(f"{name}.py,,\n{name}-1.0.dist-info/METADATA,,\n")
    manifest = {"wanted": ["scikit-learn", f"{name}==1.0"]}
    (python.parent.parent.parent / "environment.json").write_text(json.dumps(manifest))


def _listening() -> set[str]:
    """The Unix sockets that somebody listens at."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {words[7] for words in lines if len(words) > 7 and words[3] == "00010000"}


def _has(process: ProcessIdentity, word: bytes) -> bool:
    return word in Path(f"/proc/{process.pid}/cmdline").read_bytes()


@pytest.fixture
async def yard() -> AsyncIterator[Yard]:
    yard = Yard()
    yield yard
    await yard.end()


async def test_the_first_worker_starts_plainly_and_the_next_is_forked(yard: Yard) -> None:
    cold = ask_instance(await yard.ready(yard.spec("cold"))).json()
    reserve = await yard.reserve()
    specs = [yard.spec(name, envs={"SECRET": f"of {name}"}) for name in ("a", "b")]
    reports = [await yard.ready(spec) for spec in specs]
    seen = [ask_instance(report).json() for report in reports]
    assert not cold["forked"]
    for spec, report, one in zip(specs, reports, seen, strict=True):
        assert one["forked"]
        assert one["python"] == cold["python"] == str(yard.python)
        for name in ("tasks", "argv", "status", "limits"):
            assert one[name] == cold[name], name
        # Beside what the imports of the engine have set.
        known = {*cold["environment"], "SECRET"}
        assert {name for name in one["environment"] if not name.startswith("KMP_")} == known
        assert one["environment"]["SECRET"] == spec.envs["SECRET"]
        assert one["cwd"] == str(yard.instances / spec.instance_id / "work")
        assert one["group"] == one["pid"]
        kinds = sorted(target.partition(":")[0] for target in one["fds"].values())
        assert kinds == sorted(target.partition(":")[0] for target in cold["fds"].values())
        assert {one["pid"], one["parent"], report.pid} <= set(marked(spec.instance_id))
        assert reserve.pid not in marked(spec.instance_id)
    assert all(x != y for x, y in zip(seen[0]["random"], seen[1]["random"], strict=True))

    # Its end is nothing to those whom it has forked, and theirs nothing to each other.
    await end_all(yard.sockets)
    assert reports[0].pid is not None
    os.kill(reports[0].pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{seen[0]['pid']}").exists(), "the worker to die with it")
    assert ask_instance(reports[1]).json()["pid"] == seen[1]["pid"]
    await yard.runtime.stop(specs[1].instance_id)
    wait_for(lambda: marked(specs[1].instance_id) == [], "the end of all that was killed")


async def test_a_worker_that_dies_is_told_and_replaced_by_another_fork(yard: Yard) -> None:
    await yard.ready(yard.spec("cold"))
    await yard.reserve()
    report = await yard.ready(yard.spec("a", request_timeout_s=1.0))
    before = ask_instance(report).json()
    lost = ask_instance(report, die=True)
    assert lost.status_code == 500
    assert "SIGABRT" in lost.json()["error_msg"]
    report = await yard.ready(yard.spec("a"))
    after = ask_instance(report).json()
    assert after["forked"]
    assert after["pid"] != before["pid"]
    assert after["parent"] == before["parent"]
    assert ask_instance(report, loop=True).status_code == 504
    wait_for(lambda: not Path(f"/proc/{after['pid']}").exists(), "the end of the looping worker")

    # Without its nursery the front starts workers plainly.
    os.kill(before["parent"], signal.SIGKILL)
    async with asyncio.timeout(DEADLINE_S):
        while (answer := ask_instance(report)).status_code != 200 or answer.json()["forked"]:
            await asyncio.sleep(0.02)
    assert answer.json()["parent"] == report.pid


async def test_it_ends_with_its_environment_and_another_one_follows(yard: Yard) -> None:
    await yard.ready(yard.spec("cold"))
    first = await yard.reserve()
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: not processes.alive(first), "its end")
    again = WarmStarts(yard.sockets, yard.root / "logs")
    yard.runtime.close()
    yard.warm = again
    yard.open()
    assert not ask_instance(await yard.ready(yard.spec("a"))).json()["forked"]
    second = await yard.reserve()
    assert second != first
    assert ask_instance(await yard.ready(yard.spec("b"))).json()["forked"]
    # And a runtime that finds one does not start another.
    yard.warm = WarmStarts(yard.sockets, yard.root / "logs")
    yard.open()
    assert ask_instance(await yard.ready(yard.spec("c"))).json()["forked"]
    assert await yard.reserve() == second


async def test_an_import_that_does_not_end_keeps_no_instance_waiting(yard: Yard) -> None:
    install(yard.python, "stuck", "import time\nwhile True: time.sleep(1)")
    for name in ("a", "b"):
        assert not ask_instance(await yard.ready(yard.spec(name))).json()["forked"]
    assert str(yard.reserve_socket()) not in _listening()
    (stuck,) = [one for one in zygotes(yard.sockets) if _has(one, b"reserve")]
    reserves = Reserves(yard.warm, yard.instances, None)
    reserves.tidy()
    assert processes.alive(stuck)
    (folder,) = (yard.run / "reserves").iterdir()
    os.utime(folder, (0, 0))
    reserves.tidy()
    wait_for(lambda: not processes.alive(stuck), "the end of what nobody has wanted for long")
    assert list((yard.run / "reserves").iterdir()) == []


async def test_nobody_is_taken_for_a_worker_on_the_word_of_what_was_imported(yard: Yard) -> None:
    """It says another pid than its child's, that of a process which is none of its business."""
    other = await asyncio.create_subprocess_exec("sleep", "600")
    lie = f"import os\nfork = os.fork\nos.fork = lambda: {other.pid} if fork() else 0"
    install(yard.python, "liar", lie)
    try:
        await yard.ready(yard.spec("cold"))
        await yard.reserve()
        report = await yard.ready(yard.spec("a", request_timeout_s=1.0))
        seen = ask_instance(report).json()
        assert seen["forked"]
        assert seen["pid"] != other.pid
        assert ask_instance(report, loop=True).status_code == 504
        wait_for(lambda: not Path(f"/proc/{seen['pid']}").exists(), "the end of the worker")
        assert other.returncode is None
    finally:
        other.kill()
        await other.wait()


async def test_variables_that_were_read_at_import_start_the_worker_plainly(yard: Yard) -> None:
    source = 'import os\nos.environ.get("READ_EARLY")\nos.environ["SET_EARLY"] = "1"'
    install(yard.python, "reader", source)
    await yard.ready(yard.spec("cold"))
    await yard.reserve()
    one = ask_instance(await yard.ready(yard.spec("a", envs={"OTHER": "1"}))).json()
    assert one["forked"]
    assert one["environment"]["SET_EARLY"] == one["environment"]["OTHER"] == "1"
    two = ask_instance(await yard.ready(yard.spec("b", envs={"READ_EARLY": "1"}))).json()
    assert not two["forked"]
    assert two["environment"]["READ_EARLY"] == "1"


@AS_ROOT
async def test_a_fork_is_shut_in_as_a_plain_start_is(yard: Yard) -> None:
    (yard.root / "secret").write_text("x")
    install(yard.python, "nosy", NOSY.replace("ROOT", str(yard.root)))
    held = yard.limits()
    found = held.find()
    yard.open(held)
    look = """
answer = {
    "mounts": sorted(line.split()[4] for line in open("/proc/self/mountinfo")),
    "home": {name: sorted(os.listdir(name)) for name in (ROOT, ROOT + "/packages", "/home")},
    "tmp": sorted(os.listdir("/tmp")), "score": open("/proc/self/oom_score_adj").read(),
    "out": open("/dev/stdout", "w").name,
}
""".replace("ROOT", repr(str(yard.root)))
    try:
        cold = ask_instance(await yard.ready(yard.spec("cold")), do=look).json()
        reserve = await yard.reserve()
        report = await yard.ready(yard.spec("a"))
        seen = ask_instance(report, do=look).json()
        assert (cold["forked"], seen["forked"]) == (False, True)
        users = {int(one) for one in seen["status"].pop("Uid") + seen["status"].pop("Gid")}
        others = {int(one) for one in cold["status"].pop("Uid") + cold["status"].pop("Gid")}
        assert len(users) == len(others) == 1
        assert users.isdisjoint(others)
        # Of a user namespace, not of the machine.
        assert seen["status"].pop("CapBnd") == ["0" * 16] != cold["status"].pop("CapBnd")
        # Nor may it enter the namespaces of others.
        for name in ("Seccomp", "Seccomp_filters"):
            assert seen["status"].pop(name) != cold["status"].pop(name)
        for name in ("status", "limits", "tasks"):
            assert seen[name] == cold[name], name
        plan = read_confinement(yard.instances / yard.spec("a").instance_id)
        assert plan is not None
        assert users == {plan.uid}
        for name in ("home", "tmp", "score", "out"):
            assert _anon(seen["answer"][name]) == _anon(cold["answer"][name]), name
        assert bool(plan.groups) is bool(found.parents)
        for group in plan.groups:
            assert {seen["pid"], seen["parent"], report.pid} == set(groups.pids_in(Path(group)))
        _has_no_rights(reserve, users, yard)
        several = write_package(
            yard.root / "packages" / "several", TELLTALE, {"model_type": "MindSpore", "workers": 2}
        )
        two = await yard.ready(yard.spec("b", package_dir=str(several), cpu=2.0))
        url = f"http://127.0.0.1:{two.port}/health"
        wait_for(lambda: httpx.get(url, trust_env=False).json()["workers"] == 2, "both workers")
        answers = [
            asyncio.to_thread(ask_instance, two, do="import time; time.sleep(0.2)")
            for _ in range(2)
        ]
        both = [one.json() for one in await asyncio.gather(*answers)]
        folder = yard.instances / yard.spec("b").instance_id
        assert {one["cwd"] for one in both} == {str(folder / "work"), str(folder / "work-1")}
        assert all(one["forked"] for one in both)
        (told,) = (yard.run / "reserves").glob("*/work/told")
        assert told.read_text().splitlines() == ["PermissionError"] * 2 + ["FileNotFoundError"] * 2
    finally:
        for one in await yard.runtime.list():
            await yard.runtime.stop(one.instance_id)
        await end_all(yard.sockets)
        take_away(yard.run)


def _anon(told: Any) -> Any:
    """Without what is each instance's own."""
    return json.loads(json.dumps(told).replace("cold-", "x-").replace("a-", "x-"))


def _has_no_rights(reserve: ProcessIdentity, users: set[int], yard: Yard) -> None:
    status = Path(f"/proc/{reserve.pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    assert lines["CapEff"].split() == ["0000000000000000"]
    assert lines["NoNewPrivs"].split() == ["1"]
    assert lines["Seccomp"].split() == ["2"]
    assert set(lines["Uid"].split()).isdisjoint({"0", *map(str, users)})
    mounts = Path(f"/proc/{reserve.pid}/mountinfo").read_text()
    inside = [line.split()[4] for line in mounts.splitlines() if str(yard.root) in line.split()[4]]
    assert not [one for one in inside if "packages/telltale" in one or "instances" in one]
