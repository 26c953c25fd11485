"""A package that tries to reach everything it must not (S5), and weights that run a program."""

from __future__ import annotations

import json
import os
import pickle
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from live import Json, entry, import_echo, service, until
from model_folders import write_package
from modelyard.processes import identify
from modelyard.runtime.local.sweep import marked
from stack import Stack

# Each attempt says "reached" or who refused it.
CANARY = '''
"""Tries what it is told to, and says what came of it."""
import ctypes
import json
import os
import resource
import socket
import urllib.error
import urllib.request
from model_service.model_service import SingleNodeService


def read(path):
    with open(path, "rb") as file:
        file.read(1)

def write(path):
    with open(path, "ab"):
        pass

def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)

def send_signal(pid):
    os.kill(pid, 0)

def trace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")

def join_group(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))

def call(url):
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10)

def become(uid):
    os.setuid(uid)

WAYS = {
    "read": read, "write": write, "list": os.listdir, "connect": connect, "signal": send_signal,
    "trace": trace, "join": join_group, "call": call, "become": become,
}


class Canary(SingleNodeService):
    def _preprocess(self, data):
        return data

    def _inference(self, data):
        found = []
        for way, target in data["attempts"]:
            try:
                WAYS[way](target)
                found.append("reached")
            except (OSError, urllib.error.URLError) as error:
                found.append(f"{type(error).__name__}: {error}")
        return {
            "found": found,
            "pid": os.getpid(),
            "uid": os.getuid(),
            "groups": os.getgroups(),
            "environment": dict(os.environ),
            "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
            "status": open("/proc/self/status").read(),
        }

    def _postprocess(self, data):
        return data
'''
PLANTED = "planted-canary-secret"


@dataclass
class Listener:
    """A canary on loopback that stands for everything outside; keeps what it is told."""

    port: int = 0
    heard: list[Json] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Listener]:
    canary = Listener()
    with socket.create_server(("127.0.0.1", 0)) as server:
        canary.port = server.getsockname()[1]

        def hear() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller, caller.makefile("rb") as words:
                    canary.heard.append(json.loads(words.read()))

        thread = threading.Thread(target=hear, name="canary")
        thread.start()
        try:
            yield canary
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Stack]:
    """A platform with secrets planted in its environment and home."""
    with Stack(env={"SECRET_OF_THE_PLATFORM": PLANTED}) as running:
        (running.home / "checks" / "secret").write_text(PLANTED)
        yield running


def instance_of(stack: Stack, service_id: str) -> Json:
    [found] = [one for one in stack.status()["instances"] if one["service_id"] == service_id]
    instance: Json = found
    return instance


def worker_of(instance: Json) -> int:
    [worker] = [pid for pid in marked(instance["instance_id"]) if pid != instance["pid"]]
    return worker


def attempts(stack: Stack, mine: Json, other: Json) -> list[tuple[str, Any]]:
    """Everything of the platform and of the ``other`` instance, and of the canary's own front."""
    home, run = stack.home, stack.home / "run"
    theirs = run / "instances" / other["instance_id"]
    own = run / "instances" / mine["instance_id"]
    files = [
        path for path in home.rglob("*") if path.is_file() and home / "objects" in path.parents
    ]
    secrets = [
        home / "credentials.json",
        home / "modelyard.db",
        home / "node-id",
        home / "checks" / "secret",
        home / "logs" / "control-plane.log",
        *(home / "keys").iterdir(),
        *files[:2],
        run / "limits.json",
        *run.glob("*.json"),
    ]
    packages = {path.parent.parent for path in (home / "packages").glob("**/model/config.json")}
    foreign = [one for one in packages if "canary" not in _script(one)]
    assert foreign
    pids = [
        stack.record("control-plane").pid,
        stack.record("gateway").pid,
        mine["pid"],
        other["pid"],
        worker_of(other),
    ]
    settings_sockets = sorted((run / "sockets").glob("*.sock"))
    assert len(settings_sockets) >= 3, settings_sockets
    controllers = list(Path("/sys/fs/cgroup").glob("*/cgroup.procs"))
    controllers += [path for path in [Path("/sys/fs/cgroup/cgroup.procs")] if path.exists()]
    return [
        *(("read", str(path)) for path in dict.fromkeys(secrets)),
        *(("read", str(theirs / name)) for name in ("spec.json", "state.json", "process.json")),
        *(("read", str(one / "model" / "customize_service.py")) for one in foreign),
        *(("list", str(path)) for path in (home / "keys", home / "logs", theirs, theirs / "work")),
        *(("write", str(own / name)) for name in ("spec.json", "state.json", "confinement.json")),
        *(("connect", str(path)) for path in settings_sockets),
        *(("read", f"/proc/{pid}/{name}") for pid in pids for name in ("environ", "mem")),
        *(("list", f"/proc/{pid}/fd") for pid in pids),
        *((way, pid) for pid in pids for way in ("signal", "trace")),
        *(("join", str(path)) for path in controllers),
        ("call", f"{stack.address}/v1/{stack.project_id}/services"),
        ("become", 0),
        ("become", 65_001),
    ]


def _script(package: Path) -> str:
    return (package / "model" / "customize_service.py").read_text().casefold()


def test_a_package_reaches_nothing_of_the_platform(guarded: Stack, tmp_path: Path) -> None:
    stack = guarded
    package = write_package(tmp_path / "canary", "1.0.0", CANARY)
    canary, echo = stack.import_model(package, "canary", "1.0.0"), None
    echo = import_echo(stack, tmp_path, "neighbour", "1.0.0")
    with (
        service(stack, [entry(echo, 100, envs={"TOKEN": PLANTED})]) as beside,
        service(stack, [entry(canary, 100)]) as service_id,
    ):
        mine, other = instance_of(stack, service_id), instance_of(stack, beside)
        limits = stack.status()["limits"]
        tried = attempts(stack, mine, other)
        if not limits["users"]:
            # Of the same user these would succeed, and break what they reach.
            tried = [one for one in tried if one[0] in ("read", "list", "connect", "call")]
        answer = stack.predict(service_id, {"attempts": tried})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert PLANTED not in json.dumps(found["environment"])
        assert not [name for name in found["environment"] if name == "MODELYARD_HOME"]
        assert found["core"] == 0
        assert "NoNewPrivs:\t1" in found["status"]
        results = list(zip(tried, found["found"], strict=True))
        [called] = [result for (way, _), result in results if way == "call"]
        assert "401" in called
        reached = [one for one, result in results if result == "reached"]
        if not limits["users"]:
            why = "; ".join(limits["warnings"])
            pytest.skip(f"INSTANCES HAVE NO USERS OF THEIR OWN HERE ({why}); reached: {reached}")
        assert reached == []
        assert found["uid"] != os.getuid()
        assert found["groups"] == []
        assert "CapEff:\t0000000000000000" in found["status"]
        assert all(identify(pid) for pid in (mine["pid"], other["pid"], worker_of(other)))
        own = stack.home / "run" / "instances" / mine["instance_id"]
        assert (own / "work").stat().st_uid == found["uid"]
        assert stack.home.stat().st_mode & 0o777 == 0o700
        assert PLANTED not in stack.run("status").stdout


class _Runs:
    """Unpickled, it runs a program."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


TELL = (
    "import json,os,socket; s=socket.create_connection(('127.0.0.1',{port})); "
    "s.sendall(json.dumps({{'uid':os.getuid(),'cwd':os.getcwd(),"
    "'environment':dict(os.environ)}}).encode())"
)


@pytest.mark.parametrize("how", ["pickle", "joblib"])
def test_weights_that_run_a_program_run_it_inside_the_instance_only(
    how: str, guarded: Stack, tmp_path: Path
) -> None:
    stack = guarded
    with listening() as outside:
        command = f'{sys.executable} -c "{TELL.format(port=outside.port)}"'
        folder = _weights(tmp_path / how, how, command)
        model_id = stack.import_model(folder, f"weights-{how}", "1.0.0")
        assert outside.heard == [], "nothing of a package runs at its import"
        body = {
            "service_name": f"weights-{how}",
            "infer_type": "real-time",
            "config": [entry(model_id, 100)],
        }
        service_id = stack.api("POST", "/services", body)["service_id"]
        try:
            until(lambda: outside.heard, 60)
        finally:
            stack.delete_service(service_id)
    [told] = outside.heard[:1]
    assert PLANTED not in json.dumps(told)
    assert Path(told["cwd"]).parent.parent == stack.home / "run" / "instances"
    if stack.status()["limits"]["users"]:
        assert told["uid"] != os.getuid()


def _weights(folder: Path, how: str, command: str) -> Path:
    package = write_package(folder, "1.0.0")
    (package / "model" / "customize_service.py").unlink()
    for path in (package / "model").iterdir():
        if path.name != "config.json":
            path.unlink()
    config = json.loads((package / "model" / "config.json").read_text())
    config["model_type"] = "Scikit_Learn"
    (package / "model" / "config.json").write_text(json.dumps(config))
    if how == "joblib":
        joblib = pytest.importorskip("joblib")
        joblib.dump(_Runs(command), package / "model" / "model.joblib")
    else:
        (package / "model" / "model.pkl").write_bytes(pickle.dumps(_Runs(command)))
    return package
