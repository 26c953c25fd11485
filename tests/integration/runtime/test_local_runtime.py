"""The local runtime: start, probe, adopt, drain, stop, and word of every exit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from instance_support import DEADLINE_S, ECHO, wait_for, write_package
from modelyard.control.ports import Runtime
from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec, Phase
from modelyard.runtime.local.local_runtime import LocalRuntime
from modelyard.runtime.local.sweep import marked


class Yard:
    """A runtime over temporary folders, and the next one over the same."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.instances_dir = root / "instances"
        self.logs_dir = root / "logs"
        self.runtimes: list[LocalRuntime] = []
        self.package = write_package(root / "package", ECHO)

    def runtime(self) -> LocalRuntime:
        runtime = LocalRuntime(self.instances_dir, self.logs_dir)
        self.runtimes.append(runtime)
        return runtime

    def spec(self, instance_id: str, **more: object) -> InstanceSpec:
        fields: dict[str, object] = {
            "instance_id": f"{instance_id}-{os.getpid()}-{self.root.name}",
            "service_id": "service-1",
            "project_id": "project",
            "model_id": "model-1",
            "model_name": "echo",
            "model_version": "0.0.1",
            "model_type": "MindSpore",
            "package_dir": str(self.package),
            **more,
        }
        return InstanceSpec(**fields)  # type: ignore[arg-type]


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    yard = Yard(tmp_path)
    yield yard
    runtime = yard.runtime()
    for report in await runtime.list():
        await runtime.stop(report.instance_id)
    for one in yard.runtimes:
        one.close()


async def until(
    condition: Callable[[], Awaitable[InstanceReport | None]], phase: Phase
) -> InstanceReport:
    """The first report of ``phase``."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            report = await condition()
            if report is not None and report.phase is phase:
                return report
            await asyncio.sleep(0.02)


async def started(runtime: LocalRuntime, spec: InstanceSpec) -> InstanceReport:
    await runtime.start(spec)
    return await until(lambda: runtime.probe(spec.instance_id), Phase.READY)


async def test_start_probe_stop(yard: Yard) -> None:
    runtime: Runtime = yard.runtime()
    assert isinstance(runtime, LocalRuntime)
    spec = yard.spec("a", envs={"SECRET": "x"})
    assert await runtime.probe(spec.instance_id) is None
    assert await runtime.list() == []
    report = await started(runtime, spec)
    assert (report.service_id, report.model_id) == ("service-1", "model-1")
    assert report.pid is not None
    answer = httpx.post(f"http://{report.host}:{report.port}/", json={"x": 1})
    assert answer.json() == {"seen": {"x": 1}}
    folder = yard.instances_dir / spec.instance_id
    assert (folder / "spec.json").stat().st_mode & 0o777 == 0o600

    await runtime.start(spec)
    again = await runtime.probe(spec.instance_id)
    assert again is not None
    assert again.pid == report.pid

    log = yard.logs_dir / "instances" / "service-1" / f"{spec.instance_id}.log"
    assert "front ready" in runtime.log_tail(spec.instance_id)
    await runtime.stop(spec.instance_id)
    assert await runtime.probe(spec.instance_id) is None
    assert marked(spec.instance_id) == []
    assert not folder.exists()
    assert log.exists()
    assert "front ready" in runtime.log_tail(spec.instance_id, 1)
    await runtime.stop(spec.instance_id)
    await runtime.drain(spec.instance_id)


async def test_stop_ends_what_wandered_off(yard: Yard) -> None:
    script = (
        "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n" + ECHO
    )
    yard.package = write_package(yard.root / "wanderer", script)
    runtime = yard.runtime()
    spec = yard.spec("a")
    await started(runtime, spec)
    assert len(marked(spec.instance_id)) == 3
    await runtime.stop(spec.instance_id)
    wait_for(lambda: not marked(spec.instance_id), "the grandchild to be gone", 5)


async def test_a_new_runtime_adopts_what_lives(yard: Yard) -> None:
    first = yard.runtime()
    spec, other = yard.spec("a"), yard.spec("b")
    report = await started(first, spec)
    await started(first, other)
    first.close()

    second = yard.runtime()
    exits: asyncio.Queue[str] = asyncio.Queue()
    second.on_exit(exits.put_nowait)
    assert sorted((await second.list()), key=lambda one: one.instance_id)[0] == report
    await second.start(spec)
    assert (await until(lambda: second.probe(spec.instance_id), Phase.READY)).pid == report.pid
    assert report.pid is not None
    os.kill(report.pid, signal.SIGKILL)
    assert await asyncio.wait_for(exits.get(), DEADLINE_S) == spec.instance_id
    gone = await second.probe(spec.instance_id)
    assert gone is not None
    assert gone.phase is Phase.GONE
    assert "while ready" in gone.message
    assert "last log line" in gone.message
    await second.stop(other.instance_id)
    assert exits.empty()


async def test_a_pid_alone_is_not_believed(yard: Yard) -> None:
    runtime = yard.runtime()
    spec = yard.spec("a")
    report = await started(runtime, spec)
    assert report.pid is not None
    os.kill(report.pid, signal.SIGKILL)
    await until(lambda: runtime.probe(spec.instance_id), Phase.GONE)
    runtime.close()
    folder = yard.instances_dir / spec.instance_id
    for name in ("state.json", "process.json"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(str(report.pid), str(os.getpid())))
    second = yard.runtime()
    gone = await second.probe(spec.instance_id)
    assert gone is not None
    assert gone.phase is Phase.GONE
    await second.stop(spec.instance_id)


async def test_a_front_whose_launch_was_never_recorded_is_found(yard: Yard) -> None:
    first = yard.runtime()
    spec = yard.spec("a")
    report = await started(first, spec)
    first.close()
    (yard.instances_dir / spec.instance_id / "process.json").unlink()
    second = yard.runtime()
    again = await second.probe(spec.instance_id)
    assert again == report

    # Not even its own word was there when the next control plane looked.
    second.close()
    state = yard.instances_dir / spec.instance_id / "state.json"
    text = state.read_text()
    state.unlink()
    third = yard.runtime()
    exits: asyncio.Queue[str] = asyncio.Queue()
    third.on_exit(exits.put_nowait)
    await third.start(spec)
    state.write_text(text)
    found = await until(lambda: third.probe(spec.instance_id), Phase.READY)
    assert found.pid == report.pid
    assert exits.empty()


async def test_drain_ends_the_process_and_is_told(yard: Yard) -> None:
    runtime = yard.runtime()
    exits: asyncio.Queue[str] = asyncio.Queue()
    runtime.on_exit(exits.put_nowait)
    spec = yard.spec("a")
    await started(runtime, spec)
    await runtime.drain(spec.instance_id)
    await until(lambda: runtime.probe(spec.instance_id), Phase.DRAINING)
    assert await asyncio.wait_for(exits.get(), DEADLINE_S) == spec.instance_id
    gone = await runtime.probe(spec.instance_id)
    assert gone is not None
    assert gone.phase is Phase.GONE
    assert "after its drain" in gone.message
    assert (await started(runtime, spec)).pid is not None


async def test_a_failing_package_is_reported_with_its_cause(yard: Yard) -> None:
    yard.package = write_package(yard.root / "broken", "import no_such_thing\n")
    runtime = yard.runtime()
    spec = yard.spec("a")
    await runtime.start(spec)
    report = await until(lambda: runtime.probe(spec.instance_id), Phase.FAILED)
    assert "no_such_thing" in report.message
    assert "ModuleNotFoundError" in runtime.log_tail(spec.instance_id)


async def test_a_front_that_does_not_answer_keeps_its_phase(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.runtime.local.local_runtime.PROBE_TIMEOUT_S", 0.2)
    runtime = yard.runtime()
    spec = yard.spec("a")
    report = await started(runtime, spec)
    assert report.pid is not None
    os.kill(report.pid, signal.SIGSTOP)
    try:
        silent = await runtime.probe(spec.instance_id)
        assert silent is not None
        assert silent.phase is Phase.READY
        assert silent.message == "no answer to GET /health"
        await runtime.stop(spec.instance_id)
        assert marked(spec.instance_id) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(report.pid, signal.SIGCONT)


async def test_a_front_that_cannot_start_tells_by_its_launch_log(yard: Yard) -> None:
    runtime = LocalRuntime(yard.instances_dir, yard.logs_dir, python="/bin/false")
    yard.runtimes.append(runtime)
    spec = yard.spec("a")
    await runtime.start(spec)
    gone = await until(lambda: runtime.probe(spec.instance_id), Phase.GONE)
    assert gone.message == "the process ended before it could report"
    with pytest.raises(OSError):
        nowhere = LocalRuntime(yard.instances_dir, yard.logs_dir, python="/no/such/python")
        await nowhere.start(yard.spec("b"))
    nowhere.close()


async def test_ids_cannot_leave_the_folder(yard: Yard) -> None:
    runtime = yard.runtime()
    with pytest.raises(ValueError, match="folder"):
        await runtime.start(yard.spec("../x"))
    assert runtime.log_tail("../../etc/passwd") == ""


async def test_old_logs_of_a_service_are_pruned(yard: Yard) -> None:
    runtime = yard.runtime()
    spec = yard.spec("a")
    folder = yard.logs_dir / "instances" / "service-1"
    folder.mkdir(parents=True)
    for number in range(25):
        for name in (f"old-{number:02}.log", f"old-{number:02}.log.1"):
            (folder / name).write_text("x")
            os.utime(folder / name, (number, number))
    await started(runtime, spec)
    await runtime.stop(spec.instance_id)
    left = {one.name.partition(".log")[0] for one in folder.iterdir()}
    assert left == {spec.instance_id, *(f"old-{number:02}" for number in range(6, 25))}
