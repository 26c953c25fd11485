"""Instances held to their flavour on this machine, by whatever it has for that."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import venv
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from instance_support import DEADLINE_S, wait_for, write_package
from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec, Phase
from modelyard.processes import identify
from modelyard.runtime.limits import groups, instance_limits, users
from modelyard.runtime.limits.cgroups import Kind
from modelyard.runtime.limits.instance_limits import InForce, Limits, read_in_force
from modelyard.runtime.local.local_runtime import LocalRuntime
from modelyard.runtime.local.sweep import marked
from modelyard.runtime.local.zygotes import WarmStarts, end_all
from modelyard_instance.sandbox.confine import Confinement, read_confinement

# Does what it is asked to: the test is its caller.
OBEYS = """
import os, subprocess, sys, time
from model_service.model_service import SingleNodeService
class Obeys(SingleNodeService):
    def _inference(self, data):
        found = {}
        exec(data["do"], globals(), found)
        return found.get("answer")
"""
# Leaves the session, the group and every mark in its environment.
WANDER = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve("/bin/sleep", ["sleep", "600"], {})
    os._exit(0)
os.wait()
answer = True
"""
# All by which the kernel knows what a process may do.
RIGHTS = """
import resource, signal
kept = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Threads", "SigIgn", "SigBlk")
status = dict([line.split(":", 1) for line in open("/proc/self/status")])
answer = {}
for name in status:
    if name in kept or name.startswith("Cap"):
        answer[name] = status[name].split()
for name in dir(resource):
    if name.startswith("RLIMIT_"):
        answer[name] = resource.getrlimit(getattr(resource, name))
answer["adjusted"] = open("/proc/self/oom_score_adj").read()
answer["mounts"] = sorted(line.split()[4] for line in open("/proc/self/mountinfo"))
answer["files"] = sorted([os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in (0, 1, 2)])
answer["forked"] = b"zygote" in open("/proc/self/cmdline", "rb").read()
answer["parent"] = os.getppid()
"""


class Yard:
    """A home with limits, the runtime over it, and the next one.

    ``warm``: what its instances are forked by, if they are.
    """

    def __init__(self, home: Path, warm: WarmStarts | None = None, **more: Any) -> None:
        self.home, self.warm, self.more = home, warm, more
        self.run, self.instances = home / "run", home / "run" / "instances"
        self.instances.mkdir(parents=True, mode=0o700)
        self.package = write_package(home / "packages" / "obeys", OBEYS)
        self.package.chmod(0o700)
        self.runtimes: list[LocalRuntime] = []
        self.found = InForce()

    def begin(self) -> LocalRuntime:
        """What the platform does at its start."""
        options: dict[str, Any] = {"ids": range(60_000, 65_000), "pids": 64, **self.more}
        held = Limits(
            node=f"{os.getpid():08x}",
            home=self.home,
            instances_dir=self.instances,
            run_dir=self.run,
            **options,
        )
        self.found = held.find()
        runtime = LocalRuntime(self.instances, self.home / "logs", limits=held, warm=self.warm)
        self.runtimes.append(runtime)
        return runtime

    def spec(self, name: str, **more: Any) -> InstanceSpec:
        fields: dict[str, Any] = {
            "instance_id": f"{name}-{os.getpid()}",
            "service_id": "service",
            "project_id": "project",
            "model_id": "model",
            "model_name": "obeys",
            "model_version": "1.0.0",
            "model_type": "MindSpore",
            "package_dir": str(self.package),
            "memory_mb": 256,
            **more,
        }
        return InstanceSpec(**fields)

    def plan(self, spec: InstanceSpec) -> Confinement:
        plan = read_confinement(self.instances / spec.instance_id)
        assert plan is not None
        return plan

    def inside(self, spec: InstanceSpec) -> set[int]:
        """The pids in the instance's groups."""
        return {pid for group in self.plan(spec).groups for pid in groups.pids_in(Path(group))}

    async def end(self) -> None:
        runtime = self.begin()
        for report in await runtime.list():
            await runtime.stop(report.instance_id)
        for one in self.runtimes:
            one.close()
        parents = read_in_force(self.run).parents
        instance_limits.take_away(self.run)
        assert [one for one in parents if Path(one).exists()] == []


@pytest.fixture
async def zygote(tmp_path: Path) -> AsyncIterator[WarmStarts]:
    """What forks instances, once it can. Names of sockets have to be short."""
    sockets = Path(tempfile.mkdtemp(prefix="limits-"))
    warm = WarmStarts(sockets, tmp_path)
    warm.prepare("MindSpore")
    async with asyncio.timeout(DEADLINE_S):
        while not warm.socket_of("MindSpore").exists():
            await asyncio.sleep(0.01)
    yield warm
    await end_all(sockets)
    shutil.rmtree(sockets)


@pytest.fixture(params=["started", "forked"])
async def yard(tmp_path: Path, request: pytest.FixtureRequest, zygote: WarmStarts) -> Any:
    yard = Yard(tmp_path / "home", zygote if request.param == "forked" else None)
    yield yard
    await yard.end()


@pytest.fixture
def grouped(yard: Yard) -> Yard:
    yard.begin()
    if yard.found.kind not in (Kind.V1, Kind.V2):
        pytest.skip(f"NO CONTROL GROUPS HERE, limits are not tested: {yard.found.warnings}")
    return yard


async def ready(runtime: LocalRuntime, spec: InstanceSpec) -> InstanceReport:
    await runtime.start(spec)
    return await until(runtime, spec, Phase.READY)


async def until(runtime: LocalRuntime, spec: InstanceSpec, phase: Phase) -> InstanceReport:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            report = await runtime.probe(spec.instance_id)
            if report is not None and report.phase is phase:
                return report
            await asyncio.sleep(0.02)


def do(report: InstanceReport, script: str) -> httpx.Response:
    """Have the model run ``script``; its ``answer`` is the prediction."""
    url = f"http://{report.host}:{report.port}/"
    return httpx.post(url, json={"do": script}, timeout=30, trust_env=False)


async def test_over_its_memory_the_model_is_ended_alone(grouped: Yard) -> None:
    runtime = grouped.begin()
    spec, neighbour = grouped.spec("hog"), grouped.spec("neighbour")
    report, beside = await ready(runtime, spec), await ready(runtime, neighbour)
    answer = do(report, "answer = len(bytearray(400 << 20))")
    assert (answer.status_code, answer.json()["error_code"]) == (500, "ModelArts.4302")
    cause = "out of memory: over the 256 MB of its flavour; choose a larger one"
    assert cause in answer.json()["error_msg"]
    after = await until(runtime, spec, Phase.READY)
    assert (after.pid, after.losses, after.last_loss) == (report.pid, 1, cause)
    assert do(after, "answer = 1").json() == 1
    assert f"worker lost: {cause}" in runtime.log_tail(spec.instance_id)
    same = await runtime.probe(neighbour.instance_id)
    assert same == beside


async def test_memory_that_is_too_little_to_load_says_so(grouped: Yard) -> None:
    runtime = grouped.begin()
    grouped.package = write_package(grouped.home / "large", "weights = bytearray(400 << 20)\n")
    spec = grouped.spec("large")
    await runtime.start(spec)
    failed = await until(runtime, spec, Phase.FAILED)
    assert "while it loaded the model: out of memory: over the 256 MB" in failed.message


async def test_memory_that_is_too_little_for_the_front_says_so(grouped: Yard) -> None:
    runtime = grouped.begin()
    spec = grouped.spec("tiny", memory_mb=4)
    await runtime.start(spec)
    gone = await until(runtime, spec, Phase.GONE)
    assert "out of memory: over the 4 MB of its flavour; choose a larger one" in gone.message


async def test_processes_are_bounded_and_the_front_goes_on(grouped: Yard) -> None:
    runtime = grouped.begin()
    spec = grouped.spec("bomb")
    report = await ready(runtime, spec)
    bomb = (
        "answer = 0\n"
        "try:\n"
        "    while answer < 200:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(600); os._exit(0)\n"
        "        answer += 1\n"
        "except OSError: pass\n"
    )
    born = do(report, bomb).json()
    assert 0 < born < 64
    assert len(grouped.inside(spec)) <= 64
    assert do(report, "answer = 'on'").json() == "on"
    pids = grouped.inside(spec)
    await runtime.stop(spec.instance_id)
    assert [pid for pid in pids if identify(pid)] == []


async def test_cores_are_what_the_flavour_says(grouped: Yard) -> None:
    runtime = grouped.begin()
    # So little that a busy machine gives it more than that now and then.
    spec = grouped.spec("slow", cpu=0.1)
    report = await ready(runtime, spec)
    counts = [Path(group) / "cpu.stat" for group in grouped.plan(spec).groups]
    [count] = [path for path in counts if path.exists() and "nr_throttled" in path.read_text()]

    def throttled() -> bool:
        do(report, "end = time.process_time() + 0.05\nwhile time.process_time() < end: pass")
        found = dict(line.split() for line in count.read_text().splitlines())
        return int(found["nr_throttled"]) > 0

    wait_for(throttled, "the kernel to hold it back")


async def test_stop_ends_what_left_session_group_and_environment(yard: Yard) -> None:
    runtime = yard.begin()
    if yard.found.kind == Kind.RLIMITS and not yard.found.users:
        pytest.skip("NEITHER CONTROL GROUPS NOR USERS HERE: such a process is not found")
    spec = yard.spec("wanderer")
    report = await ready(runtime, spec)
    assert do(report, WANDER).json() is True
    uid = yard.plan(spec).uid
    pids = yard.inside(spec) | {pid for pid, owner in users.owners() if uid and owner == uid}
    # A forked front has a process more, which forks its workers.
    assert len(pids) == (4 if yard.warm else 3)
    assert len(marked(spec.instance_id)) == (3 if yard.warm else 2)
    await runtime.stop(spec.instance_id)
    assert [pid for pid in pids if identify(pid)] == []


async def test_another_control_plane_adopts_what_is_held_and_ends_it(grouped: Yard) -> None:
    first = grouped.begin()
    spec, fresh = grouped.spec("kept"), grouped.spec("fresh")
    report = await ready(first, spec)
    do(report, WANDER)
    before = grouped.plan(spec)
    first.close()
    second = grouped.begin()
    assert (await until(second, spec, Phase.READY)).pid == report.pid
    assert grouped.inside(spec)
    other = await ready(second, fresh)
    assert grouped.plan(fresh).uid != before.uid or not before.uid
    pids = grouped.inside(spec)
    # The command line ends instances without knowing what holds them.
    plain = LocalRuntime(grouped.instances, grouped.home / "logs")
    grouped.runtimes.append(plain)
    await plain.stop(spec.instance_id)
    assert [pid for pid in pids if identify(pid)] == []
    assert [group for group in before.groups if Path(group).exists()] == []
    assert do(other, "answer = 2").json() == 2


async def test_groups_of_dead_instances_are_swept_at_the_start(grouped: Yard) -> None:
    left = [Path(parent) / "left-behind" for parent in grouped.found.parents]
    for group in left:
        group.mkdir()
    sleeper = await asyncio.create_subprocess_exec("sleep", "600")
    for group in left:
        (group / "cgroup.procs").write_text(str(sleeper.pid))
    grouped.begin()
    assert await asyncio.wait_for(sleeper.wait(), DEADLINE_S) == -signal.SIGKILL
    assert [group for group in left if group.exists()] == []


async def test_a_copy_of_the_home_ends_nothing_of_ours(grouped: Yard, tmp_path: Path) -> None:
    runtime = grouped.begin()
    spec = grouped.spec("original")
    report = await ready(runtime, spec)
    copy = Yard(tmp_path / "copy")
    try:
        copy.begin()
        assert (await until(runtime, spec, Phase.READY)).pid == report.pid
    finally:
        await copy.end()
    assert (await until(runtime, spec, Phase.READY)).pid == report.pid


async def test_without_control_groups_an_rlimit_holds_the_memory(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "find_hierarchy", lambda name: None)
    runtime = yard.begin()
    assert yard.found.kind == Kind.RLIMITS
    assert "Delegate=yes" in yard.found.warnings[0]
    spec = yard.spec("hog")
    report = await ready(runtime, spec)
    answer = do(report, "answer = len(bytearray(400 << 20))")
    assert answer.status_code == 500
    assert "MemoryError" in answer.text
    assert do(report, "answer = 1").json() == 1
    assert do(report, WANDER).json() is True
    await runtime.stop(spec.instance_id)
    assert marked(spec.instance_id) == []


async def test_the_view_of_a_model_with_a_user_of_its_own(yard: Yard) -> None:
    """Where packages look for themselves (models.md §9), scratch space, and nothing else."""
    runtime = yard.begin()
    if not yard.found.users:
        pytest.skip(f"INSTANCES HAVE NO USERS OF THEIR OWN HERE: {yard.found.warnings}")
    spec = yard.spec("looks")
    report = await ready(runtime, spec)

    def said(expression: str) -> Any:
        return do(report, f"import tempfile\nanswer = {expression}").json()

    assert sorted(said("os.listdir('/home')")) == ["mind", "work"]
    assert "customize_service.py" in said("os.listdir('/home/mind/model')")
    assert said("open('/home/work/note', 'w').write('x')") == 1
    assert said("os.listdir('.')") == ["note"]
    assert said("tempfile.mkstemp()[1]").startswith("/tmp/")
    assert (yard.instances / spec.instance_id / "work" / "note").read_text() == "x"
    assert said("os.listdir('/dev/shm')") == []
    assert said("open('/dev/stdout', 'w').write('to the log\\n')") == 11
    wait_for(lambda: "model to the log" in runtime.log_tail(spec.instance_id), "the line")
    for forbidden in ("'/home/mind/model/x'", f"{str(yard.instances / spec.instance_id / 'x')!r}"):
        assert "Error" in do(report, f"open({forbidden}, 'w')").text
    # Another worker finds the same, whatever the first one has left in its way.
    do(report, "os.symlink('/etc', '/tmp/elsewhere'); os._exit(1)")
    await until(runtime, spec, Phase.READY)
    assert "customize_service.py" in said("os.listdir('/home/mind/model')")


async def test_a_fork_is_as_shut_in_as_one_started_anew(tmp_path: Path, zygote: WarmStarts) -> None:
    yard = Yard(tmp_path / "home")
    try:
        rights = {}
        for name, warm in (("started", None), ("forked", zygote)):
            yard.warm = warm
            runtime = yard.begin()
            spec = yard.spec(name)
            report = await ready(runtime, spec)
            found = rights[name] = do(report, RIGHTS).json()
            assert found.pop("forked") is (name == "forked")
            inside = yard.inside(spec)
            if yard.found.parents:
                assert {report.pid, found["parent"]} <= inside
            found.pop("parent")
            uid = yard.plan(spec).uid
            if uid:
                assert found.pop("Uid") == found.pop("Gid") == [str(uid)] * 4
                assert found["Groups"] == []
                assert {found[one][0] for one in ("CapEff", "CapPrm", "CapAmb")} == {"0" * 16}
            assert found["NoNewPrivs"] == ["1"]
            # Under nohup the tests ignore SIGHUP, and so does what they start.
            found["SigIgn"] = int(found["SigIgn"][0], 16) & ~1
            # Elsewhere, this machine may mount something meanwhile.
            folder, ours = str(yard.instances / spec.instance_id), (str(yard.home), "/home")
            mounts = [one for one in found["mounts"] if one.startswith(ours)]
            found["mounts"] = [one.replace(folder, "") for one in mounts]
        assert rights["forked"] == rights["started"]
    finally:
        await yard.end()


async def test_an_environment_in_the_home_is_shown_to_its_worker(yard: Yard) -> None:
    runtime = yard.begin()
    if not yard.found.users:
        pytest.skip(f"INSTANCES HAVE NO USERS OF THEIR OWN HERE: {yard.found.warnings}")
    environment = yard.home / "environments" / "one"
    mask = os.umask(0o077)
    try:
        venv.create(environment, symlinks=True, with_pip=False)
    finally:
        os.umask(mask)
    spec = yard.spec("elsewhere", python=str(environment / "bin" / "python"))
    report = await ready(runtime, spec)
    assert do(report, "answer = sys.prefix").json() == str(environment)
    assert do(report, "answer = os.getuid()").json() == yard.plan(spec).uid


async def test_off_is_off(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "home", on=False, ids=range(0))
    try:
        runtime = yard.begin()
        assert yard.found.sentence() == "off, the platform's own user"
        report = await ready(runtime, yard.spec("free"))
        assert do(report, "answer = len(bytearray(300 << 20))").json() == 300 << 20
        assert do(report, "answer = os.getuid()").json() == os.getuid()
    finally:
        await yard.end()


async def test_what_cannot_be_held_is_not_started(yard: Yard) -> None:
    runtime = yard.begin()
    spec = yard.spec("loose")
    await ready(runtime, spec)
    plan = yard.plan(spec)
    report = await runtime.probe(spec.instance_id)
    assert report is not None
    assert report.pid is not None
    os.kill(report.pid, signal.SIGKILL)
    await until(runtime, spec, Phase.GONE)
    wait_for(lambda: not marked(spec.instance_id), "the worker to go with its front")
    runtime.close()
    # Another front of that folder, and nobody to mend it.
    (yard.instances / spec.instance_id / "confinement.json").write_bytes(b"{")
    plain = LocalRuntime(yard.instances, yard.home / "logs")
    yard.runtimes.append(plain)
    await plain.start(spec)
    gone = await until(plain, spec, Phase.GONE)
    wait_for(lambda: "cannot be held to its limits" in launch_log(yard, spec), "the cause")
    assert gone.phase is Phase.GONE
    (yard.instances / spec.instance_id / "confinement.json").write_bytes(plan.document())


async def test_a_worker_that_cannot_be_shut_in_does_not_run(yard: Yard) -> None:
    runtime = yard.begin()
    if not yard.found.users:
        pytest.skip(f"INSTANCES HAVE NO USERS OF THEIR OWN HERE: {yard.found.warnings}")
    spec = yard.spec("loose")
    report = await ready(runtime, spec)
    (yard.instances / spec.instance_id / "tmp").rename(yard.home / "elsewhere")
    do(report, "os._exit(1)")
    failed = await until(runtime, spec, Phase.FAILED)
    assert "mount /tmp: No such file or directory" in failed.message


def launch_log(yard: Yard, spec: InstanceSpec) -> str:
    return (yard.instances / spec.instance_id / "launch.log").read_text()
