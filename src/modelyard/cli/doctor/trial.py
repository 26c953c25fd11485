"""A package under real conditions: the model server's own processes, on loopback, in a folder."""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from modelyard.cli.doctor.sample import Sample
from modelyard.runtime.local.sweep import end_all, marked
from modelyard_instance.environment import base_environment, worker_environment
from modelyard_instance.spec import read_spec

_STEP_S = 0.005
_REQUESTS = 30
_LONGEST_ROUND_S = 20.0
_PARTING_S = 20.0


@dataclass(frozen=True, slots=True)
class Start:
    """``seconds`` from the launch to ready, or to failed with its ``failure``."""

    seconds: float
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """How the sample was answered: status and begin of the first, seconds of all."""

    status: int
    text: str
    seconds: tuple[float, ...] = ()

    @property
    def median_s(self) -> float:
        """Without the first, which often makes something for all later ones."""
        return statistics.median(self.seconds[1:] or self.seconds or (0.0,))


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes that were resident: the workers' most, the front's."""

    workers_mb: float = 0.0
    front_mb: float = 0.0


class Instance:
    """A started model server of one package."""

    def __init__(self, folder: Path, instance_id: str, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._id = instance_id
        self._process = process

    def wait(self, begun: float, limit_s: float) -> Start:
        """Wait until it is ready or says that it never will be."""
        while True:
            state = self._state()
            now = time.monotonic() - begun
            if state.get("phase") == "ready":
                return Start(now)
            if state.get("phase") == "failed":
                return Start(now, str(state.get("message")))
            if self._process.poll() is not None:
                return Start(now, f"the model server ended with status {self._process.returncode}")
            if now > limit_s:
                return Start(now, f"it was not ready within {limit_s:g} s")
            time.sleep(_STEP_S)

    def ask(self, sample: Sample, limit_s: float) -> Answers:
        """Send the sample over and over for a moment; stops at a first answer that is no 200."""
        files = [(field, (name, content)) for field, name, content in sample.files]
        url = f"http://127.0.0.1:{self._state()['port']}/"
        taken: list[float] = []
        first: httpx.Response | None = None
        with httpx.Client(timeout=limit_s + 5, trust_env=False) as client:
            end = time.monotonic() + _LONGEST_ROUND_S
            while len(taken) < _REQUESTS and (not taken or time.monotonic() < end):
                begin = time.perf_counter()
                if sample.is_form:
                    answer = client.post(url, files=files or None, data=dict(sample.fields))
                else:
                    headers = {"content-type": "application/json"}
                    answer = client.post(url, content=sample.content, headers=headers)
                taken.append(time.perf_counter() - begin)
                first = first or answer
                if answer.status_code != httpx.codes.OK:
                    return Answers(answer.status_code, answer.text[:1000], tuple(taken))
        assert first is not None
        return Answers(first.status_code, first.text[:1000], tuple(taken))

    def memory(self) -> Memory:
        """The most that its processes have had in memory until now."""
        front = self._process.pid
        workers = [pid for pid in marked(self._id) if pid != front]
        return Memory(sum(_peak_mb(pid) for pid in workers), _peak_mb(front))

    def log(self) -> str:
        """Everything the model and its server have said."""
        with suppress(OSError):
            return (self.folder / "instance.log").read_text(errors="replace")
        return ""

    def end(self) -> None:
        """End its processes, whatever they do."""
        end_all(self._id)
        self._process.kill()
        self._process.wait(_PARTING_S)

    def _state(self) -> dict[str, object]:
        try:
            found: dict[str, object] = json.loads((self.folder / "state.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found


@contextmanager
def started(
    package: Path, model_type: str, folder: Path, cpu: float, python: str = ""
) -> Iterator[Instance]:
    """An instance of ``package`` that has just been launched, ended with the block.

    ``python``: the interpreter of the package's own environment; "" for the platform's own.
    """
    folder.mkdir()
    instance_id = f"check-{secrets.token_hex(8)}"
    spec = {
        "instance_id": instance_id,
        "service_id": "check",
        "project_id": "check",
        "model_id": "check",
        "model_name": package.name,
        "model_version": "0.0.0",
        "model_type": model_type,
        "package_dir": str(package),
        "cpu": cpu,
        "python": python,
    }
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    with (folder / "launch.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelyard_instance", "--dir", str(folder)],
            env=base_environment(instance_id, os.environ),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    instance = Instance(folder, instance_id, process)
    try:
        yield instance
    finally:
        instance.end()


def rehearse(instance_dir: Path, sample: Sample, limit_s: float) -> list[tuple[str, str, str]]:
    """What the result is made of (``modelyard_instance.worker.rehearse``); none when it fails."""
    spec = read_spec(instance_dir)
    request, out = instance_dir / "request", instance_dir / "result.json"
    request.write_bytes(sample.frame())
    with suppress(subprocess.TimeoutExpired, OSError, ValueError):
        subprocess.run(
            [
                *(spec.python or sys.executable, "-m", "modelyard_instance.worker.rehearse"),
                *("--dir", str(instance_dir), "--request", str(request), "--out", str(out)),
            ],
            env=worker_environment(spec, instance_dir, os.environ),
            cwd=instance_dir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
        return [(kind, place, what) for kind, place, what in json.loads(out.read_bytes())]
    return []


def _peak_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
