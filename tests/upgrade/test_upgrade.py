"""An older build's platform goes on under this one: nothing is lost, all that runs is adopted.

Not among the tests that ``make test`` runs: ``make test-upgrade``. Each build has an environment of
its own; the code is replaced in place while instances, gateway and a batch run go on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from installation import Installation

from batch_place import Place, import_doubler, twice
from live import create, delete, entry, import_echo, load, put, show, until, update, wait_status
from modelyard.processes import ProcessIdentity, alive
from stack import Stack

OLD = "35f8a18"
RATE = 200
ROWS = 8_000
KINDS = ("source", "wheel")


@dataclass(frozen=True)
class Upgraded:
    """Where the code lies, and the platform that it runs."""

    installation: Installation
    stack: Stack


@pytest.fixture(params=KINDS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Upgraded]:
    """The old build, installed and up; swept away with whatever build is there at the end."""
    installation = Installation(tmp_path, OLD, wheel=request.param == "wheel")
    with Stack(python=installation.python, env={"MODELYARD_DRAIN_GRACE": "5"}) as stack:
        yield Upgraded(installation, stack)


def end_control_plane(stack: Stack, how: signal.Signals) -> None:
    process: ProcessIdentity = stack.record("control-plane")
    os.kill(process.pid, how)
    until(lambda: not alive(process), 30)


def fronts(stack: Stack, service_id: str) -> dict[int, int]:
    """The ready instances' fronts, each with its port."""
    return {
        int(found["pid"]): int(found["port"])
        for found in stack.status()["instances"]
        if found["service_id"] == service_id and found["state"] == "ready"
    }


def workers_of(front: int) -> set[int]:
    """The processes below a front that answer predictions."""
    found: set[int] = set()
    for child in Path(f"/proc/{front}/task/{front}/children").read_text().split():
        found |= {int(child)} | workers_of(int(child))
    return found


def answers(stack: Stack, service_id: str, times: int) -> bool:
    return all(stack.predict(service_id).status_code == 200 for _ in range(times))


@pytest.mark.timeout(600)
def test_services_are_served_through_an_upgrade(old: Upgraded, tmp_path: Path) -> None:
    stack = old.stack
    new = old.installation.prepare(None)
    models = [import_echo(stack, tmp_path, "kept", f"{n}.0.0") for n in (1, 2)]
    place = Place(stack, import_doubler(stack, tmp_path / "doubler"))
    source, target = place.rows(ROWS)
    batch = place.create(place.job(source, target, 0.02))
    run = place.under_way(batch, 20)
    driver = place.driver(run["task_id"])
    assert driver is not None
    real_time = create(stack, [entry(models[0], 100, 2)])
    before, gateway = fronts(stack, real_time), stack.record("gateway")
    assert len(before) == 2
    with load(stack, real_time, tmp_path, rate=RATE) as running:
        running.wait_more(RATE)
        how = signal.SIGTERM if old.installation.is_wheel else signal.SIGKILL
        end_control_plane(stack, how)
        running.wait_more(RATE)
        old.installation.replace(new)
        stack.up()
        wait_status(stack, real_time, "running")
        assert fronts(stack, real_time) == before, "an instance was not adopted"
        assert stack.record("gateway") == gateway, "the gateway was not adopted"
        assert place.run(batch)["status"] == "running"
        assert place.driver(run["task_id"]) == driver, "the batch driver was not adopted"
        assert place.run(batch)["task_id"] == run["task_id"]
        running.wait_more(2 * RATE)
        # Weights only: the old instances stay, one of the new build's stands beside them.
        update(stack, real_time, [entry(models[0], 50, 2), entry(models[1], 50, 1)])
        assert set(before) <= set(fronts(stack, real_time))
        running.wait_more(2 * RATE)
        summary = running.stop()
    assert summary.failed == []
    assert summary.versions["2.0.0"] > 0

    # A worker that the new code starts below a front that the old code started.
    for front in before:
        killed = workers_of(front)
        assert killed
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        until(lambda f=front, k=killed: workers_of(f) - k, 60)
        wait_status(stack, real_time, "running")
        until(lambda: answers(stack, real_time, 20), 60)
        assert Path(f"/proc/{front}").exists(), "the front ended with its worker"

    update(stack, real_time, [entry(models[1], 100, 1)])
    assert not set(before) & set(fronts(stack, real_time))
    finished = wait_status(stack, batch, "finished", 300)
    assert finished["progress"] == 100
    assert place.run(batch)["task_id"] == run["task_id"]
    assert place.results(target, run["task_id"]) == twice(ROWS)
    for service_id in (batch, real_time):
        delete(stack, service_id)


@pytest.mark.timeout(600)
def test_what_stood_still_is_there_after_an_upgrade(tmp_path: Path) -> None:
    """Models, revisions, update logs, events, stopped services, tokens' keys: all are read."""
    installation = Installation(tmp_path, OLD, wheel=False)
    with Stack(python=installation.python, env={"MODELYARD_DRAIN_GRACE": "5"}) as stack:
        models = [import_echo(stack, tmp_path, "still", f"{n}.0.0") for n in (1, 2)]
        service_id = create(stack, [entry(models[0], 100)])
        update(stack, service_id, [entry(models[0], 30), entry(models[1], 70)])
        assert put(stack, service_id, {"status": "stopped"}).status_code == 200
        wait_status(stack, service_id, "stopped")
        held = read_all(stack, service_id)
        stack.down()
        installation.become(None)
        stack.up()
        assert read_all(stack, service_id) == held
        assert put(stack, service_id, {"status": "running"}).status_code == 200
        wait_status(stack, service_id, "running")
        assert stack.predict(service_id).status_code == 200
        update(stack, service_id, [entry(models[0], 100)])
        delete(stack, service_id)


def read_all(stack: Stack, service_id: str) -> dict[str, Any]:
    """What the API says of a service and its models, but for what changes by itself."""
    lists = {
        name: stack.api("GET", f"/services/{service_id}/{name}")[name]
        for name in ("logs", "events", "revisions")
    }
    service = show(stack, service_id)
    return {**lists, "service": service, "models": stack.api("GET", "/models")}
