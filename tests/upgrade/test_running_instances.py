"""Fronts and fork servers of an older build go on when the code below them is replaced."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import ROOT, export
from websockets.sync.client import connect

from instance_support import ECHO, Instance, wait_for, write_package
from modelyard.runtime.local.sweep import end_all
from modelyard_instance.forks import PLACE
from modelyard_instance.sandbox.confine import Confinement

OLD = "35f8a18"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The folder that instances import from, with the old build's code."""
    known = ["git", "-C", str(ROOT), "cat-file", "-e", f"{OLD}^{{commit}}"]
    if subprocess.run(known, capture_output=True, check=False).returncode:
        pytest.skip(f"this clone does not reach back to {OLD}")
    export(OLD, tmp_path / "old")
    return tmp_path / "old" / "src"


def replace(code: Path) -> None:
    """This build's code in place of the old one."""
    shutil.rmtree(code)
    shutil.copytree(ROOT / "src", code, ignore=shutil.ignore_patterns("__pycache__"))


def described(tmp_path: Path, **spec: object) -> tuple[Path, str]:
    """The folder and the id of an instance that is not started yet."""
    package = write_package(tmp_path / "package", ECHO)
    folder, instance_id = tmp_path / "instance", f"upgrade-{os.urandom(8).hex()}"
    folder.mkdir()
    names = {one: one for one in ("service_id", "project_id", "model_id", "model_name")}
    told = {"model_version": "0.0.1", "model_type": "MindSpore", "package_dir": str(package)}
    content = {"instance_id": instance_id, **names, **told, **spec}
    (folder / "spec.json").write_text(json.dumps(content))
    return folder, instance_id


def environment(code: Path, mark: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(code), "MODELYARD_INSTANCE_ID": mark}


def check_answers(instance: Instance) -> None:
    """A prediction, and one over a WebSocket."""
    assert instance.post(json={"a": 1}).json() == {"seen": {"a": 1}}
    with connect(instance.url.replace("http", "ws") + "/", proxy=None) as caller:
        caller.send('{"b": 2}')
        assert json.loads(caller.recv(10)) == {"seen": {"b": 2}}


@pytest.fixture(params=["plain", "confined", "own environment"])
def running(request: pytest.FixtureRequest, code: Path, tmp_path: Path) -> Iterator[Instance]:
    """An instance of the old build, ready; nothing of it is left afterwards."""
    own = {"python": sys.executable} if request.param == "own environment" else {}
    folder, instance_id = described(tmp_path, **own)
    if request.param == "confined":
        (folder / "confinement.json").write_bytes(Confinement(open_files=500).document())
    command = [sys.executable, "-m", "modelyard_instance", "--dir", str(folder)]
    process = subprocess.Popen(command, env=environment(code, instance_id), start_new_session=True)
    instance = Instance(folder, instance_id, process)
    try:
        instance.wait_phase("ready")
        yield instance
    finally:
        instance.client.close()
        end_all(instance_id)
        process.kill()
        process.wait()


def test_a_front_starts_a_worker_and_opens_a_websocket_with_the_new_code(
    running: Instance, code: Path
) -> None:
    assert running.post(json={"a": 1}).json() == {"seen": {"a": 1}}
    replace(code)
    before = running.workers()
    check_answers(running)
    assert running.workers() == before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: set(running.workers()) - set(before), "another worker")
    running.wait_phase("ready")
    check_answers(running)
    assert running.process.poll() is None


def test_a_zygote_forks_a_front_with_the_new_code(code: Path, tmp_path: Path) -> None:
    folder, instance_id = described(tmp_path)
    place = tmp_path / "z"
    command = [sys.executable, "-m", "modelyard_instance.zygote", "--socket", str(place)]
    zygote = subprocess.Popen(command, env=environment(code, PLACE), cwd="/")
    try:
        wait_for(place.exists, "the zygote")
        replace(code)
        order = {
            "dir": str(folder),
            "instance_id": instance_id,
            "environment": environment(code, instance_id),
            "log": str(folder / "front.log"),
        }
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(place))
            caller.send(json.dumps(order).encode())
            assert int(caller.recv(100)) > 0
        instance = Instance(folder, instance_id, zygote)
        instance.wait_phase("ready")
        check_answers(instance)
        instance.client.close()
    finally:
        end_all(instance_id)
        zygote.kill()
        zygote.wait()
