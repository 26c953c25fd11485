"""Real instances of small packages written for a test."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec, Phase
from modelyard.runtime.local.local_runtime import LocalRuntime
from modelyard.runtime.local.sweep import end_all, marked

DEADLINE_S = 30.0

ECHO = """
from model_service.model_service import SingleNodeService
class Echo(SingleNodeService):
    def _inference(self, data):
        return {"seen": data}
"""


def wait_for(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of ``condition``; fails the test after ``deadline_s``."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s} s for {what}")
        time.sleep(0.01)


def instance_spec(name: str, root: Path, package: Path, **more: Any) -> InstanceSpec:
    """An instance of ``package`` whose id nobody else has, in the home ``root``."""
    fields: dict[str, Any] = {
        "instance_id": f"{name}-{os.getpid()}-{root.name}",
        "service_id": "service",
        "project_id": "project",
        "model_id": "model",
        "model_name": "telltale",
        "model_version": "0.0.1",
        "model_type": "Scikit_Learn",
        "package_dir": str(package),
        **more,
    }
    return InstanceSpec(**fields)


async def until_ready(runtime: LocalRuntime, spec: InstanceSpec) -> InstanceReport:
    """Start the instance; what is told of it once it is ready."""
    await runtime.start(spec)
    async with asyncio.timeout(DEADLINE_S):
        while True:
            report = await runtime.probe(spec.instance_id)
            assert report is not None
            assert report.phase is not Phase.FAILED, report.message
            if report.phase is Phase.READY:
                return report
            await asyncio.sleep(0.005)


def ask_instance(report: InstanceReport, **body: Any) -> httpx.Response:
    """Have the instance predict for ``body``."""
    return httpx.post(f"http://127.0.0.1:{report.port}/", json=body, timeout=30, trust_env=False)


def write_package(
    folder: Path, script: str | None, config: object = None, model_type: str = "MindSpore"
) -> Path:
    """A package with ``script`` as its ``customize_service.py``; returns ``package_dir``."""
    model = folder / "model"
    model.mkdir(parents=True)
    if script is not None:
        (model / "customize_service.py").write_text(script)
    content = {"model_type": model_type} if config is None else config
    text = content if isinstance(content, str) else json.dumps(content)
    (model / "config.json").write_text(text)
    return folder


@dataclass
class Instance:
    """A front process of a package, and how to talk to it."""

    folder: Path
    instance_id: str
    process: subprocess.Popen[bytes]
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20))

    def state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "state.json").read_bytes())
            return found
        except FileNotFoundError:
            return {}

    def wait_phase(self, phase: str) -> dict[str, Any]:
        wait_for(lambda: self.state().get("phase") == phase, f"phase {phase}")
        return self.state()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.state()['port']}"

    def get(self, path: str = "/health") -> httpx.Response:
        return self.client.get(self.url + path)

    def post(self, path: str = "/", **more: Any) -> httpx.Response:
        return self.client.post(self.url + path, **more)

    def workers(self) -> list[int]:
        """Pids of the instance's processes but the front."""
        return [pid for pid in marked(self.instance_id) if pid != self.process.pid]

    def log(self) -> str:
        return (self.folder / "instance.log").read_text()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


def launch(folder: Path) -> subprocess.Popen[bytes]:
    instance_id = json.loads((folder / "spec.json").read_bytes())["instance_id"]
    return subprocess.Popen(
        [sys.executable, "-m", "modelyard_instance", "--dir", str(folder)],
        env={"PATH": os.environ["PATH"], "MODELYARD_INSTANCE_ID": instance_id},
        start_new_session=True,
    )


@contextmanager
def running(package: Path, folder: Path, **spec: Any) -> Iterator[Instance]:
    """An instance of ``package`` in ``folder``; nothing of it is left afterwards."""
    folder.mkdir()
    instance_id = f"test-{os.urandom(8).hex()}"
    content = {
        "instance_id": instance_id,
        "service_id": "service",
        "project_id": "project",
        "model_id": "model",
        "model_name": "echo",
        "model_version": "0.0.1",
        "model_type": "MindSpore",
        "package_dir": str(package),
        **spec,
    }
    (folder / "spec.json").write_text(json.dumps(content))
    instance = Instance(folder, instance_id, launch(folder))
    try:
        yield instance
    finally:
        instance.client.close()
        end_all(instance_id)
        instance.process.kill()
        instance.process.wait(DEADLINE_S)
        wait_for(lambda: not marked(instance_id), "the instance's processes to end")
