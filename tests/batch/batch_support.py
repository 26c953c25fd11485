"""Runs of the driver as a process, against real instances and either object store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from instance_support import Instance, wait_for

from modelyard.batch.spec import (
    Address,
    Result,
    RunSpec,
    read_result,
    write_endpoints,
    write_run,
)

RULE = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "index": 0},
        "text": {"type": "string", "index": 1},
    },
}
DOUBLE = """
from model_service.model_service import SingleNodeService
class Double(SingleNodeService):
    def _inference(self, data):
        if data["text"] == "bad":
            raise ValueError("a bad row")
        return {"twice": 2 * data["n"], "text": data["text"]}
"""
SIZES = """
from model_service.model_service import SingleNodeService
class Sizes(SingleNodeService):
    def _preprocess(self, data):
        return [(name, file, content.read()) for name, files in data.items()
                for file, content in files.items()]
    def _inference(self, data):
        (name, file, content), = data
        if content == b"bad":
            raise ValueError("a bad file")
        return {"field": name, "file": file, "size": len(content)}
"""


@dataclass
class Run:
    """A run's folder below ``home``, and the driver when one was started."""

    home: Path
    spec: RunSpec
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        return self.home / "batch" / self.spec.task_id

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "run.json").exists():
            write_run(self.folder, self.spec)

    def offer(self, *instances: Instance) -> None:
        """Tell the driver of these instances."""
        found = []
        for one in instances:
            state = one.state()
            if state.get("phase") == "ready":
                found.append(Address(one.instance_id, "127.0.0.1", state["port"]))
        write_endpoints(self.folder, found)

    def start(self, **more: str) -> subprocess.Popen[bytes]:
        self.prepare()
        with (self.folder / "driver.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.batch", "--run", str(self.folder)],
                env={**self.environment, **more},
                stdout=log,
                stderr=log,
            )
        return self.process

    def result(self) -> Result | None:
        return read_result(self.folder)

    def log(self) -> str:
        return (self.folder / "driver.log").read_text()

    def finish(self, timeout_s: float = 60) -> Result:
        """Wait for the driver's end; it must have ended the run."""
        assert self.process is not None
        assert self.process.wait(timeout_s) == 0, self.log()
        result = self.result()
        assert result is not None, self.log()
        return result

    def terminate(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)

    def retry(self, task_id: str) -> Run:
        return Run(
            self.home,
            replace(self.spec, task_id=task_id, retry_of=self.spec.task_id),
            self.environment,
        )


@contextmanager
def closing(run: Run) -> Iterator[Run]:
    """No driver is left."""
    try:
        yield run
    finally:
        run.kill()


def spec(**more: Any) -> RunSpec:
    """A run of CSV files from ``obs://inbox/in/`` to ``obs://outbox/res/``."""
    return RunSpec(
        **{
            "task_id": "task-1",
            "service_id": "s",
            "project_id": "p",
            "model_id": "m",
            "source": "obs://inbox/in/",
            "destination": "obs://outbox/res/",
            "mapping_type": "csv",
            "mapping_rule": RULE,
            **more,
        }
    )


def environment(home: Path, objects: str, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "MODELYARD_HOME": str(home),
        "MODELYARD_OBJECT_STORE": objects,
        "PYTHONFAULTHANDLER": "1",
        **more,
    }


def lines(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.decode().splitlines()]


__all__ = [
    "DOUBLE",
    "RULE",
    "SIZES",
    "Run",
    "Sequence",
    "closing",
    "environment",
    "lines",
    "spec",
    "wait_for",
]
