"""Containers as instances: started, checked, drained, adopted and ended in a real engine."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec, Phase
from modelyard.runtime.containers.container import EngineError
from modelyard.runtime.containers.container_runtime import ContainerRuntime
from modelyard.runtime.containers.engine import ContainerEngine
from modelyard.runtime.quiet import connections_to
from podman_engine import Images, Podman, cgroup_value, container_name

LIMIT_S = 60.0

T = TypeVar("T")


@dataclass
class Yard:
    """Runtimes over the same folders, one after the other."""

    podman: Podman
    folder: Path
    image: str
    runtime: ContainerRuntime = field(init=False)
    started: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def open(self) -> ContainerRuntime:
        engine = ContainerEngine(self.podman.socket)
        node = self.folder.name[-8:].replace("_", "-")
        self.runtime = ContainerRuntime(
            engine, self.folder / "containers", self.folder / "logs", node=node
        )
        self.runtime.on_exit(self.told.append)
        return self.runtime

    async def reopen(self) -> ContainerRuntime:
        """As after the end of a control plane."""
        await self.runtime.close()
        return self.open()

    async def start(
        self, instance_id: str, *, ready: bool = True, container: Any = None, **more: Any
    ) -> InstanceReport:
        said = {"port": 8080, "protocol": "http", "cmd": "", "probes": {}} | (container or {})
        spec = InstanceSpec(
            instance_id=instance_id,
            service_id="service",
            project_id="project",
            model_id="model",
            model_name="poems",
            model_version="1.0.0",
            model_type="Image",
            package_dir="",
            **({"image": self.image, "container": said, "memory_mb": 256} | more),
        )
        self.started.append(instance_id)
        await self.runtime.start(spec)
        return (
            await self.until(instance_id, Phase.READY) if ready else await self.probe(instance_id)
        )

    async def probe(self, instance_id: str) -> InstanceReport:
        report = await self.runtime.probe(instance_id)
        assert report is not None
        return report

    async def until(self, instance_id: str, phase: Phase) -> InstanceReport:
        async def reached() -> InstanceReport | None:
            report = await self.probe(instance_id)
            return report if report.phase is phase else None

        return await eventually(reached, lambda: str(self.runtime.log_tail(instance_id)))


async def eventually(what: Callable[[], Awaitable[T | None]], why: Callable[[], str] = str) -> T:
    deadline = time.monotonic() + LIMIT_S
    while True:
        found = await what()
        if found:
            return found
        assert time.monotonic() < deadline, why()
        await asyncio.sleep(0.02)


@pytest.fixture
async def yard(podman: Podman, images: Images, tmp_path: Path) -> AsyncIterator[Yard]:
    made = Yard(podman, tmp_path, images.make("1.0.0"))
    made.open()
    try:
        yield made
    finally:
        for instance_id in made.started:
            await made.runtime.stop(instance_id)
        await made.runtime.close()
        left = [n for n in podman.containers() if any(i in n for i in made.started)]
        assert not left
        assert not list((tmp_path / "containers").glob("*"))


async def ask(report: InstanceReport, path: str = "/", **query: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"http://{report.host}:{report.port}{path}"
        answer = await client.post(url, json={"x": 1}, params=query, timeout=30)
        found: dict[str, Any] = answer.json()
        return found


async def test_serves_under_its_limits(yard: Yard) -> None:
    report = await yard.start(
        "limits", envs={"A_VARIABLE": "of the service"}, cpu=0.25, memory_mb=128
    )
    assert report.host == "127.0.0.1"
    answer = await ask(report, "/predictions/poem")
    assert answer["version"] == "1.0.0"
    assert answer["path"] == "/predictions/poem"
    assert answer["environment"]["A_VARIABLE"] == "of the service"
    assert answer["environment"]["MODEL_NAME"] == "poems"
    assert report.pid is not None
    most = cgroup_value(report.pid, "memory", "memory.limit_in_bytes", "memory.max")
    assert int(most) == 128 * 1024 * 1024
    quota = cgroup_value(report.pid, "cpu", "cpu.cfs_quota_us", "cpu.max")
    assert quota.split()[0] == "25000"
    assert cgroup_value(report.pid, "pids", "pids.max", "pids.max") == "1024"
    status = Path(f"/proc/{report.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    made = yard.podman.inspect(container_name(yard.podman, "limits"))
    assert made["Config"]["Labels"]["modelyard.instance"] == "limits"


async def test_started_twice_it_is_one_container(yard: Yard) -> None:
    first = await yard.start("twice")
    again = await yard.start("twice")
    assert again.pid == first.pid
    assert len([n for n in yard.podman.containers() if n.endswith("twice")]) == 1


async def test_its_command_and_port_are_the_models(yard: Yard) -> None:
    report = await yard.start(
        "command",
        container={"port": 9000, "cmd": "/python/bin/python3 /app/server.py 'two words'"},
        envs={"PORT": "9000"},
    )
    assert (await ask(report))["arguments"] == ["two words"]


async def test_what_it_says_is_in_its_log_across_control_planes(yard: Yard) -> None:
    report = await yard.start("talker")
    await ask(report, "/say", words="first")

    async def logged() -> str | None:
        tail = yard.runtime.log_tail("talker", 100)
        return tail if "words" in tail or "first" in tail else None

    assert " model listening on 8080 as 1.0.0" in await eventually(logged)
    assert " model a word on stderr" in yard.runtime.log_tail("talker", 100)
    await yard.runtime.close()
    await ask(report, "/say", words="while nobody listened")
    yard.open()
    found = await yard.probe("talker")
    assert (found.phase, found.port, found.pid) == (Phase.READY, report.port, report.pid)

    async def caught_up() -> str | None:
        tail = yard.runtime.log_tail("talker", 100)
        return tail if "while nobody listened" in tail else None

    tail = await eventually(caught_up)
    assert tail.count("model first") == 1
    assert tail.count("listening on") == 1
    await yard.runtime.stop("talker")
    assert "while nobody listened" in yard.runtime.log_tail("talker", 100)


async def test_a_volume_outlives_its_containers_and_stays_with_its_project(yard: Yard) -> None:
    def mounted(project: str) -> dict[str, Any]:
        return {"volumes": [{"name": f"{project}/any name ü", "mount_path": "/data"}]}

    first = await yard.start("writer", container=mounted("p1"))
    await ask(first, "/touch", file="/data/poem")
    await yard.runtime.stop("writer")
    second = await yard.start("reader", container=mounted("p1"))
    assert (await ask(second, "/exists", file="/data/poem"))["exists"] is True
    stranger = await yard.start("stranger", container=mounted("p2"))
    assert (await ask(stranger, "/exists", file="/data/poem"))["exists"] is False
    await yard.runtime.stop("reader")
    await yard.runtime.stop("stranger")
    yard.podman.command("volume", "rm", *yard.podman.command("volume", "ls", "-q").split())


async def test_an_end_by_itself_is_told_with_its_exit_code(yard: Yard) -> None:
    report = await yard.start("leaver")
    with pytest.raises(httpx.TransportError):
        await ask(report, "/exit", code=3)
    gone = await yard.until("leaver", Phase.GONE)
    assert "exit code 3" in gone.message
    assert "leaver" in yard.told
    assert yard.runtime.log_tail("leaver", 1).endswith("leaving as asked")


async def test_an_end_while_no_control_plane_ran_is_noticed(yard: Yard) -> None:
    report = await yard.start("unseen")
    await yard.runtime.close()
    with pytest.raises(httpx.TransportError):
        await ask(report, "/exit", code=4)
    yard.open()
    assert "exit code 4" in (await yard.until("unseen", Phase.GONE)).message


async def test_over_its_memory_it_is_ended_and_says_so(yard: Yard) -> None:
    report = await yard.start("hungry", memory_mb=64)
    with pytest.raises(httpx.TransportError):
        await ask(report, "/eat", mb=200)
    gone = await yard.until("hungry", Phase.GONE)
    assert gone.message.startswith("out of memory: the container wanted more than its 64 MB")


async def test_a_fork_bomb_ends_at_the_limit_of_processes(yard: Yard) -> None:
    report = await yard.start("forker", memory_mb=2048)
    forked = (await ask(report, "/fork", count=1100))["forked"]
    assert 900 < forked < 1024
    assert (await ask(report))["version"] == "1.0.0"


async def test_a_flood_of_words_is_bounded_and_the_log_goes_on(yard: Yard) -> None:
    """More than the engine keeps and more than the log takes: the last word is there."""
    report = await yard.start("flooder")
    await ask(report, "/flood", mb=25)

    async def logged() -> bool:
        await ask(report, "/say", words="and on it goes")
        return "and on it goes" in yard.runtime.log_tail("flooder", 3)

    await eventually(logged)
    files = list((yard.folder / "logs" / "instances" / "service").iterdir())
    assert sum(file.stat().st_size for file in files) < 16 * 1024 * 1024
    kept = yard.podman.kept_log(container_name(yard.podman, "flooder")).stat().st_size
    assert kept < 12 * 1024 * 1024


async def test_an_engine_that_was_started_anew_is_found_again(yard: Yard) -> None:
    await yard.start("before")
    yard.podman.stop_serving()
    yard.podman.serve()
    await yard.start("after")
    await yard.runtime.stop("before")
    assert await yard.runtime.probe("before") is None


async def test_a_drain_waits_for_what_is_under_way(yard: Yard) -> None:
    """The image ends at SIGTERM without regard for its callers: it gets it when none is left."""
    report = await yard.start("drained")
    slow = asyncio.create_task(ask(report, "/slow", s="1.5"))

    async def under_way() -> bool:
        assert report.port is not None
        return connections_to(report.port) > 0

    await eventually(under_way)
    await yard.runtime.drain("drained")
    assert (await yard.probe("drained")).phase is Phase.DRAINING
    assert (await slow)["version"] == "1.0.0"
    gone = await yard.until("drained", Phase.GONE)
    assert gone.message == "the container ended after its drain"


async def test_one_that_ignores_sigterm_is_ended_by_stop(yard: Yard) -> None:
    await yard.start("stubborn", envs={"STUBBORN": "1"})
    await yard.runtime.drain("stubborn")

    async def heard() -> bool:
        return "SIGTERM is ignored" in yard.runtime.log_tail("stubborn", 5)

    await eventually(heard)
    assert (await yard.probe("stubborn")).phase is Phase.DRAINING
    await yard.runtime.stop("stubborn")
    assert await yard.runtime.probe("stubborn") is None


def probe(**more: Any) -> dict[str, Any]:
    return {
        "url": "/health",
        "protocol": "http",
        "check_method": "HTTP",
        "command": "",
        "period_seconds": 1,
        "initial_delay_seconds": 0,
        "timeout_seconds": 5,
        "failure_threshold": 2,
    } | more


async def test_probes_that_fail_from_the_start_end_it(yard: Yard) -> None:
    probes = {"startup_health": probe(url="/health")}
    await yard.start(
        "ill", ready=False, container={"probes": probes}, envs={"SICK": "/app/server.py"}
    )
    failed = await yard.until("ill", Phase.FAILED)
    assert failed.message == ("startup check failed 2 times in a row: GET /health: status 503")


async def test_ready_before_the_initial_delay_has_passed(yard: Yard) -> None:
    """Nothing waits for what it does not need; only failures wait before they count."""
    probes = {"readiness_health": probe(initial_delay_seconds=3600)}
    await yard.start("early", container={"probes": probes})


async def test_readiness_takes_it_out_of_traffic_and_back(yard: Yard) -> None:
    probes = {"readiness_health": probe()}
    report = await yard.start("moody", container={"probes": probes}, envs={"SICK": "/tmp/ill"})
    await ask(report, "/touch", file="/tmp/ill")
    out = await yard.until("moody", Phase.STARTING)
    assert "readiness check failed 2 times" in out.message
    heal = "import os; os.remove('/tmp/ill')"
    name = container_name(yard.podman, "moody")
    yard.podman.command("exec", name, "/python/bin/python3", "-c", heal)
    await yard.until("moody", Phase.READY)


async def test_a_command_inside_can_be_the_liveness_check(yard: Yard) -> None:
    command = "/python/bin/python3 -c 'import os,sys;sys.exit(os.path.exists(\"/tmp/ill\"))'"
    probes = {"health": probe(check_method="EXEC", command=command)}
    report = await yard.start("inner", container={"probes": probes})

    async def touched() -> bool:
        # The command that says "ready" does not ask whether the server listens already.
        try:
            await ask(report, "/touch", file="/tmp/ill")
        except httpx.ConnectError:
            return False
        return True

    await eventually(touched)
    failed = await yard.until("inner", Phase.FAILED)
    assert "health check failed 2 times in a row: command" in failed.message
    assert "exit code 1" in failed.message


async def test_an_image_that_is_gone_is_an_error_of_the_start(yard: Yard) -> None:
    with pytest.raises(EngineError, match="localhost/nobody:1"):
        await yard.start("nothing", image="localhost/nobody:1")
    assert await yard.runtime.probe("nothing") is None


async def test_without_its_engine_it_is_reported_as_it_was(yard: Yard) -> None:
    report = await yard.start("lonely")
    await yard.runtime.close()
    yard.podman.stop_serving()
    try:
        yard.open()
        found = {one.instance_id: one for one in await yard.runtime.list()}["lonely"]
        assert (found.phase, found.port) == (Phase.READY, report.port)
        if yard.podman.reached_without:
            assert (await ask(report))["version"] == "1.0.0"
    finally:
        yard.podman.serve()


async def test_a_container_without_a_record_is_found_by_its_label(yard: Yard) -> None:
    await yard.start("lost")
    await yard.runtime.close()
    (yard.folder / "containers" / "lost.json").unlink()
    yard.open()
    assert [one.instance_id for one in await yard.runtime.list()] == ["lost"]
    await yard.runtime.stop("lost")
    assert await yard.runtime.list() == []


async def test_killed_from_outside(yard: Yard) -> None:
    report = await yard.start("victim")
    assert report.pid is not None
    os.kill(report.pid, signal.SIGKILL)
    gone = await yard.until("victim", Phase.GONE)
    assert "exit code 137" in gone.message
