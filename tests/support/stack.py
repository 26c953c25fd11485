"""A whole platform for the tests: real processes in a temporary home on a free loopback port."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from forked_commands import name_of, run_command
from modelyard.processes import ProcessIdentity, alive, identify
from modelyard.runtime.limits.instance_limits import read_in_force, take_away
from ports import free_port

T = TypeVar("T")

FLAVOR = "modelarts.vm.cpu.2u"
_COMMAND_LIMIT_S = 180.0


class Stack:
    """Started by ``with``, stopped and swept clean at its end.

    ``env``: more ``MODELYARD_*`` variables for the platform. A database given by
    ``MODELYARD_DATABASE_URL`` in the tests' own environment is used too. Commands are forked
    (``forked_commands``) unless ``forked`` is False or a crash point is armed by the environment;
    ``python``: the interpreter of another environment that runs them.
    """

    def __init__(
        self,
        *,
        env: Mapping[str, str] | None = None,
        home: Path | None = None,
        forked: bool = True,
        python: Path | None = None,
    ) -> None:
        # Short, so that sockets fit into the home.
        self.home = home or Path(tempfile.mkdtemp(prefix="my-"))
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        database = os.environ.get("MODELYARD_DATABASE_URL")
        self._more = {**({"MODELYARD_DATABASE_URL": database} if database else {}), **(env or {})}
        self._python = str(python or sys.executable)
        self._forked = forked and python is None and "MODELYARD_CRASH" not in self._more
        self._client: httpx.Client | None = None

    # Life ------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.sweep()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.show_logs()
        if self._client is not None:
            self._client.close()
        groups = read_in_force(self.home / "run").parents
        try:
            stopped = self.run("down", "--grace", "15", check=False)
            left = _settled(self.home)
            left += [group for group in groups if Path(group).exists()]
        finally:
            self.sweep()
        if kind is None:
            assert stopped.returncode == 0, stopped.stderr
            assert not left, f"`modelyard down` left processes or groups: {left}"

    @property
    def environment(self) -> dict[str, str]:
        """What commands and the platform run with: nothing of the tester's own settings."""
        mine = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MODELYARD_", "OS_"))
        }
        return {
            **mine,
            "MODELYARD_HOME": str(self.home),
            "MODELYARD_PORT": str(self.port),
            "MODELYARD_GATEWAY_WORKERS": "1",
            **self._more,
        }

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One ``modelyard`` command; an exit code but 0 raises ``AssertionError`` if ``check``."""
        if self._forked:
            done = run_command(
                arguments, env=self.environment, cwd=self.home, timeout=_COMMAND_LIMIT_S
            )
        else:
            done = subprocess.run(
                [self._python, "-m", "modelyard", *arguments],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_LIMIT_S,
                check=False,
            )
        if check:
            told = f"modelyard {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
            assert done.returncode == 0, told
        return done

    def json(self, *arguments: str) -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def up(self) -> None:
        """``modelyard up --detach``."""
        self.run("up", "--detach")

    def down(self) -> None:
        self.run("down", "--grace", "15")

    def sweep(self) -> None:
        """Kill whatever still belongs to the home, and remove it, with its control groups."""
        deadline = time.monotonic() + 10
        while (left := processes_of(self.home)) and time.monotonic() < deadline:
            for process in left:
                if alive(process):
                    os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.02)
        take_away(self.home / "run")
        shutil.rmtree(self.home, ignore_errors=True)

    def show_logs(self) -> None:
        """The logs' ends on stdout, which pytest shows with a failure."""
        for path in sorted((self.home / "logs").rglob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-25:]
            print(f"--- {path.relative_to(self.home)}", *lines, sep="\n")

    # Looking ---------------------------------------------------------------------------------

    @property
    def credentials(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.home / "credentials.json").read_bytes())
        return found

    @property
    def project_id(self) -> str:
        return self.credentials["project_id"]

    def token(self) -> str:
        who = self.credentials
        user = {
            "name": who["user_name"],
            "password": who["password"],
            "domain": {"name": who["domain_name"]},
        }
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"id": who["project_id"]}},
            }
        }
        answer = httpx.post(f"{self.address}/v3/auth/tokens", json=body, trust_env=False)
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    @property
    def client(self) -> httpx.Client:
        """Speaks to the address with a token of the administrator."""
        if self._client is None:
            self._client = httpx.Client(
                base_url=self.address,
                headers={"X-Auth-Token": self.token()},
                timeout=60,
                trust_env=False,
            )
        return self._client

    def api(self, method: str, path: str, body: object = None, **query: str | int) -> Any:
        """A call below ``/v1/{project_id}`` that must succeed; returns its JSON."""
        answer = self.client.request(
            method, f"/v1/{self.project_id}{path}", json=body, params=query or None
        )
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def status(self) -> dict[str, Any]:
        """``modelyard status --json``."""
        found: dict[str, Any] = json.loads(self.run("status", "--json", check=False).stdout)
        return found

    def wait_for(
        self, predicate: Callable[[], T], timeout: float = 60.0, what: str = "the condition"
    ) -> T:
        """The first true value of ``predicate``; ``TimeoutError`` after ``timeout`` seconds."""
        return wait_for(predicate, timeout, what)

    # Breaking --------------------------------------------------------------------------------

    def record(self, name: str) -> ProcessIdentity:
        """The process behind ``control-plane`` or ``gateway``, living or dead."""
        data = json.loads((self.home / "run" / f"{name}.json").read_bytes())
        return ProcessIdentity(data["pid"], data["start_ticks"])

    def kill_control_plane(self) -> ProcessIdentity:
        """``kill -9``; returns whom, once it is gone."""
        return self._kill(self.record("control-plane"))

    def kill_gateway(self) -> ProcessIdentity:
        return self._kill(self.record("gateway"))

    def kill_instance(self, pid: int) -> ProcessIdentity:
        found = identify(pid)
        assert found is not None, f"no process {pid}"
        return self._kill(found)

    def _kill(self, process: ProcessIdentity) -> ProcessIdentity:
        assert alive(process), f"{process} does not run"
        os.kill(process.pid, signal.SIGKILL)
        self.wait_for(lambda: not alive(process), 10, "the end of a killed process")
        return process

    # Using -----------------------------------------------------------------------------------

    def import_model(
        self, folder: Path, name: str, version: str = "0.0.1", timeout: float = 60.0
    ) -> str:
        """Put ``folder/model`` into the object store, import it, wait; returns the model's id."""
        config = json.loads((folder / "model" / "config.json").read_bytes())
        target = self.home / "objects" / "models" / name / version
        shutil.copytree(folder / "model", target / "model", dirs_exist_ok=True)
        body = {
            "model_name": name,
            "model_version": version,
            "model_type": config["model_type"],
            "source_location": f"obs://models/{name}/{version}/",
        }
        model_id: str = self.api("POST", "/models", body)["model_id"]

        def published() -> bool:
            model = self.api("GET", f"/models/{model_id}")
            assert model["model_status"] in ("publishing", "building", "published"), model
            return bool(model["model_status"] == "published")

        self.wait_for(published, timeout, f"model {name}:{version}")
        return model_id

    def config(
        self, weights: Mapping[str, int], counts: int | Sequence[int] = 1, **more: object
    ) -> list[dict[str, object]]:
        """A ``config`` array: ``{model_id: weight}`` and instance counts."""
        each = [counts] * len(weights) if isinstance(counts, int) else list(counts)
        return [
            {
                "model_id": model_id,
                "weight": weight,
                "specification": FLAVOR,
                "instance_count": count,
                **more,
            }
            for (model_id, weight), count in zip(weights.items(), each, strict=True)
        ]

    def create_service(
        self,
        name: str,
        weights: Mapping[str, int],
        counts: int | Sequence[int] = 1,
        *,
        wait: bool = True,
        timeout: float = 90.0,
        **more: object,
    ) -> str:
        """Deploy ``{model_id: weight}`` and wait until it runs; returns the service's id.

        ``more`` goes into the body.
        """
        body = {
            "service_name": name,
            "infer_type": "real-time",
            "config": self.config(weights, counts),
            **more,
        }
        service_id: str = self.api("POST", "/services", body)["service_id"]
        if wait:
            self.wait_status(service_id, "running", timeout)
        return service_id

    def show(self, service_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", f"/services/{service_id}")
        return found

    def wait_status(self, service_id: str, status: str, timeout: float = 90.0) -> dict[str, Any]:
        """Wait for a service's status; a failed one raises at once."""

        def reached() -> dict[str, Any] | None:
            service = self.show(service_id)
            if service["status"] == "failed" != status:
                events = self.api("GET", f"/services/{service_id}/events")["events"]
                raise AssertionError(f"{service.get('error_msg')}: {events}")
            return service if service["status"] == status else None

        found = self.wait_for(reached, timeout, f"status {status}")
        assert found is not None
        return found

    def update(
        self,
        service_id: str,
        weights: Mapping[str, int],
        counts: int | Sequence[int] = 1,
        *,
        wait: bool = True,
        timeout: float = 90.0,
    ) -> dict[str, Any]:
        """``PUT`` a new config; waits until its update log says SUCCESS. Returns the answer."""
        body = {"config": self.config(weights, counts)}
        answer: dict[str, Any] = self.api("PUT", f"/services/{service_id}", body)
        if wait:
            self.wait_update(service_id, timeout)
        return answer

    def wait_update(self, service_id: str, timeout: float = 90.0) -> None:
        """Wait until the newest update is in force; one that failed raises at once."""

        def done() -> bool:
            logs = self.api("GET", f"/services/{service_id}/logs")["logs"]
            assert logs, "the update left no log"
            assert logs[0]["result"] != "FAIL", logs[0]
            return bool(logs[0]["result"] == "SUCCESS")

        self.wait_for(done, timeout, "the update")

    def delete_service(self, service_id: str, timeout: float = 60.0) -> None:
        """Delete it and wait until it is gone."""
        self.api("DELETE", f"/services/{service_id}")
        path = f"/v1/{self.project_id}/services/{service_id}"
        self.wait_for(
            lambda: self.client.get(path).status_code == 404, timeout, "the end of a service"
        )

    def predict(self, service_id: str, body: object = None) -> httpx.Response:
        """One prediction, whatever the answer."""
        return self.client.post(f"/v1/infers/{service_id}", json={} if body is None else body)


def wait_for(predicate: Callable[[], T], timeout: float, what: str) -> T:
    """The first true value of ``predicate``; ``TimeoutError`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{what} was not reached within {timeout} s")
        time.sleep(0.02)


def processes_of(home: Path) -> list[ProcessIdentity]:
    """Every living process that has the home in its command line or environment, but us.

    A forked control plane has it in its name instead.
    """
    mark = os.fsencode(str(home))
    name = os.fsencode(name_of(home)) + b"\n"
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            belongs = (entry / "comm").read_bytes() == name or any(
                mark in (entry / part).read_bytes() for part in ("cmdline", "environ")
            )
        except OSError:
            continue
        process = identify(int(entry.name)) if belongs else None
        if process is not None:
            found.append(process)
    return found


def _settled(home: Path) -> list[str]:
    """The command lines of what is left a moment after ``down``."""
    deadline = time.monotonic() + 2
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.02)
    lines = []
    for process in left:
        try:
            line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except OSError:
            continue
        lines.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return lines
