"""``modelyard up``, ``down`` and ``status`` with the real parts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from modelyard.processes import alive
from modelyard.settings import Settings
from stack import Stack, processes_of


@pytest.fixture
def idle_stack() -> Iterator[Stack]:
    """A home and a port, nothing started."""
    stack = Stack(forked=False)
    try:
        yield stack
    finally:
        stack.sweep()


def test_up_is_harmless_when_all_runs(fresh_stack: Stack) -> None:
    before = fresh_stack.status()
    again = fresh_stack.run("up", "--detach")
    assert "already up" in again.stdout
    after = fresh_stack.status()
    assert after["control_plane"]["pid"] == before["control_plane"]["pid"]
    assert after["gateway"]["pid"] == before["gateway"]["pid"]


def test_status_has_the_documented_form(fresh_stack: Stack, make_package) -> None:
    model_id = fresh_stack.import_model(make_package("0.0.1"), "echo")
    service_id = fresh_stack.create_service("echo", {model_id: 100}, 2)
    status = fresh_stack.status()
    assert status["address"] == fresh_stack.address
    assert alive(fresh_stack.record("control-plane"))
    assert status["control_plane"]["pid"] == fresh_stack.record("control-plane").pid
    assert status["gateway"]["pid"] == fresh_stack.record("gateway").pid
    assert len(status["instances"]) == 2
    for instance in status["instances"]:
        assert instance["service_id"] == service_id
        assert instance["model_id"] == model_id
        assert instance["state"] == "ready"
        assert instance["port"] > 0
        assert Path(f"/proc/{instance['pid']}").exists()


def test_credentials_are_the_owners_alone(stack: Stack) -> None:
    file = stack.home / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(stack.credentials) >= {
        "auth_url",
        "region",
        "domain_name",
        "user_name",
        "password",
        "project_name",
        "project_id",
        "access_key",
        "secret_key",
    }
    assert stack.credentials["auth_url"] == f"{stack.address}/v3"


def test_predictions_go_on_without_the_control_plane_and_up_restarts_it(
    fresh_stack: Stack, make_package
) -> None:
    model_id = fresh_stack.import_model(make_package("0.0.1"), "echo")
    service_id = fresh_stack.create_service("echo", {model_id: 100})
    before = fresh_stack.status()
    fresh_stack.kill_control_plane()
    assert fresh_stack.predict(service_id, {"x": 1}).json() == {
        "version": "0.0.1",
        "echo": {"x": 1},
    }
    dead = fresh_stack.run("status", "--json", check=False)
    assert dead.returncode == 3
    status = fresh_stack.status()
    assert status["control_plane"]["pid"] is None
    assert status["gateway"]["pid"] == before["gateway"]["pid"]
    assert status["instances"] == before["instances"]
    fresh_stack.up()
    after = fresh_stack.status()
    assert after["control_plane"]["pid"] not in (None, before["control_plane"]["pid"])
    assert after["gateway"]["pid"] == before["gateway"]["pid"]
    assert after["instances"] == before["instances"]
    assert fresh_stack.predict(service_id).status_code == 200


def test_up_restarts_a_dead_gateway(fresh_stack: Stack) -> None:
    fresh_stack.kill_control_plane()
    dead = fresh_stack.kill_gateway()
    fresh_stack.up()
    assert fresh_stack.record("gateway") != dead
    assert fresh_stack.status()["gateway"]["pid"] is not None


def test_down_ends_everything_and_a_later_up_has_it_all_again(
    fresh_stack: Stack, make_package
) -> None:
    model_id = fresh_stack.import_model(make_package("0.0.1"), "echo")
    service_id = fresh_stack.create_service("echo", {model_id: 100})
    fresh_stack.down()
    assert fresh_stack.wait_for(lambda: not processes_of(fresh_stack.home), 5)
    assert fresh_stack.status()["instances"] == []
    again = fresh_stack.run("down")
    assert "Nothing" in again.stderr
    fresh_stack.up()
    fresh_stack.wait_status(service_id, "running")
    fresh_stack.wait_for(lambda: fresh_stack.predict(service_id).status_code == 200, 60)


def test_down_also_ends_what_a_killed_control_plane_left(fresh_stack: Stack, make_package) -> None:
    model_id = fresh_stack.import_model(make_package("0.0.1"), "echo")
    fresh_stack.create_service("echo", {model_id: 100})
    fresh_stack.kill_control_plane()
    fresh_stack.down()
    assert fresh_stack.wait_for(lambda: not processes_of(fresh_stack.home), 5)


def test_other_settings_are_refused_while_it_runs(fresh_stack: Stack) -> None:
    refused = fresh_stack.run("up", "--detach", "--port", "8799", check=False)
    assert refused.returncode == 1
    assert "modelyard down" in refused.stderr
    assert "8799" in refused.stderr
    assert fresh_stack.run("status").returncode == 0


def test_a_taken_port_is_a_clear_error_and_leaves_nothing(idle_stack: Stack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", idle_stack.port))
        other.listen()
        refused = idle_stack.run("up", "--detach", check=False)
    assert refused.returncode == 1
    assert f"Port {idle_stack.port} on 127.0.0.1 is taken" in refused.stderr
    assert "--port" in refused.stderr
    assert not processes_of(idle_stack.home)


def test_a_control_plane_that_ends_early_shows_its_last_words(idle_stack: Stack) -> None:
    (idle_stack.home / "modelyard.db").write_text("no database " * 1000)
    refused = idle_stack.run("up", "--detach", check=False)
    assert refused.returncode == 1
    assert "The control plane ended" in refused.stderr
    assert "control-plane.log" in refused.stderr
    assert "database" in refused.stderr
    assert idle_stack.wait_for(lambda: not processes_of(idle_stack.home), 5)


def test_a_database_of_a_newer_build_is_refused_in_words(idle_stack: Stack) -> None:
    idle_stack.home.mkdir(exist_ok=True)
    path = Settings(home=idle_stack.home).database.partition("///")[2]
    with contextlib.closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        newer.execute("INSERT INTO alembic_version VALUES ('0999')")
    refused = idle_stack.run("up", "--detach", check=False)
    assert refused.returncode == 1
    assert "schema revision 0999" in refused.stderr
    assert "restore a backup" in refused.stderr
    assert "Traceback" not in refused.stderr
    with contextlib.closing(sqlite3.connect(path)) as left:
        assert left.execute("SELECT name FROM sqlite_master").fetchall() == [("alembic_version",)]


def test_in_the_foreground_a_signal_stops_all(idle_stack: Stack) -> None:
    with _foreground(idle_stack) as running:
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
        assert running.returncode == 0, errors
    assert idle_stack.wait_for(lambda: not processes_of(idle_stack.home), 5)


def test_in_the_foreground_a_dead_control_plane_is_started_again(idle_stack: Stack) -> None:
    with _foreground(idle_stack) as running:
        dead = idle_stack.kill_control_plane()
        idle_stack.wait_for(lambda: _answers(idle_stack.address), 60, "the restart")
        assert idle_stack.record("control-plane") != dead
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=60)
        assert running.returncode == 0, errors
        assert "runs again" in errors
    assert idle_stack.wait_for(lambda: not processes_of(idle_stack.home), 5)


def test_down_elsewhere_ends_the_foreground(idle_stack: Stack) -> None:
    with _foreground(idle_stack) as running:
        idle_stack.down()
        _, errors = running.communicate(timeout=60)
        assert running.returncode == 0, errors
        assert "Another command stopped Modelyard" in errors
    assert idle_stack.wait_for(lambda: not processes_of(idle_stack.home), 5)


def test_two_ups_at_the_same_time_start_one_platform(idle_stack: Stack) -> None:
    both = [_spawn(idle_stack, "up", "--detach") for _ in range(2)]
    for one in both:
        _, errors = one.communicate(timeout=120)
        assert one.returncode == 0, errors
    planes = [
        process
        for process in processes_of(idle_stack.home)
        if b"modelyard.composition" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    ]
    assert len(planes) == 1
    idle_stack.down()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/", trust_env=False).status_code in (200, 300)
    except httpx.HTTPError:
        return False


def _spawn(stack: Stack, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "modelyard", *arguments],
        env=stack.environment,
        cwd=stack.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class _foreground:
    """``modelyard up`` until it says that it is up; killed at the end if it still runs.

    Its own word counts: a control plane that is killed before has failed to start.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __enter__(self) -> subprocess.Popen[str]:
        self._process = _spawn(self._stack, "up")
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "Modelyard is up" in line:
                return self._process
        raise AssertionError(self._process.communicate())

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.communicate()
