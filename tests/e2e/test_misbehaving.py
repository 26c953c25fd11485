"""Packages that misbehave (R6): what their caller and owner are told, while no neighbour notices.

Beside these: a missing import, a crash and an error at the start, a start that takes too long and
a crash on the third request in ``test_broken_versions.py``; what a package reaches for in
``test_canary.py``; the same at one instance in ``tests/integration``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from live import Json, create, delete, entry, events, import_echo, load, until
from loadrun import LoadRun
from model_folders import write_package
from modelyard.processes import identify
from modelyard.runtime.limits.groups import pids_in
from modelyard_instance.sandbox.confine import read_confinement
from stack import Stack

MEMORY_MB = 256
PIDS = 64
TIMEOUT_S = 3
RATE = 30

SERVICE = '''
"""Does what its case is about."""
import os
import signal
import sys
import threading
import time
from model_service.model_service import SingleNodeService
{at_import}


class Misbehaves(SingleNodeService):
    def __init__(self, model_name="", model_path=""):
        super().__init__(model_name, model_path)
        self.requests = 0
        {at_start}

    def _preprocess(self, data):
        return data

    def _inference(self, data):
        if not data.get("now"):
            return "fine"
        self.requests += 1
        {at_request}

    def _postprocess(self, data):
        return data
'''


def script(at_import: str = "", at_start: str = "pass", at_request: str = "return None") -> str:
    return SERVICE.format(at_import=at_import, at_start=at_start, at_request=at_request)


@dataclass(frozen=True)
class Start:
    """A package that does not start; ``told`` is in the event, and why the service has failed."""

    name: str
    told: str
    script: str


STARTS = (
    Start("syntax-error", "customize_service.py:9", script(at_import="def broken(:")),
    Start(
        "memory-hog-at-load",
        f"out of memory: over the {MEMORY_MB} MB of its flavour; choose a larger one",
        script(at_start="self.weights = bytearray(400 << 20)"),
    ),
)


@dataclass(frozen=True)
class Request:
    """A package that is ready, and what it does with a request.

    ``status`` and ``told``: the caller's answer. ``event``: what the owner reads, empty when the
    caller alone is concerned.
    """

    name: str
    script: str
    status: int
    told: str = ""
    event: str = ""


DIED = "the process of its model died and was replaced"
TOO_LONG = f"did not answer within {TIMEOUT_S} s"
OVERRAN = f"a prediction ran longer than {TIMEOUT_S} s and the process was ended"
BOMB = """
        for _ in range(200):
            try:
                child = os.fork()
            except OSError:
                return "stopped"
            if child == 0:
                time.sleep(600)
                os._exit(0)
        return "200 children"
"""
FLOOD = """
        for _ in range(300):
            os.write(1, (b"x" * 99 + b"\\n") * 1000)
        return "printed"
"""

REQUESTS = (
    Request(
        "endless-loop",
        script(at_request="while True: pass"),
        504,
        TOO_LONG,
        OVERRAN,
    ),
    Request("sleep", script(at_request="time.sleep(60)"), 504, TOO_LONG, OVERRAN),
    Request(
        "memory-hog",
        script(at_request="return len(bytearray(400 << 20))"),
        500,
        f"out of memory: over the {MEMORY_MB} MB of its flavour",
        f"out of memory: over the {MEMORY_MB} MB of its flavour; choose a larger one",
    ),
    Request(
        "leak",
        script(
            at_start="self.kept = []",
            at_request="\n        while True: self.kept.append(bytearray(8 << 20))",
        ),
        500,
        "out of memory",
        "out of memory",
    ),
    Request(
        "crash",
        script(at_request="os._exit(7)"),
        500,
        "it exited with status 7",
        "it exited with status 7",
    ),
    Request(
        "abort",
        script(at_request="os.abort()"),
        500,
        "it was killed by SIGABRT",
        "it was killed by SIGABRT",
    ),
    Request("fork-bomb", script(at_request=BOMB), 200, "stopped"),
    Request("not-json", script(at_request="return object()"), 500, "cannot be told in JSON"),
    Request("exit", script(at_request='sys.exit("enough")'), 500, "SystemExit: enough"),
    Request("large-answer", script(at_request='return "x" * (10 << 20)'), 200, "xxxx"),
    Request("flood-of-output", script(at_request=FLOOD), 200, "printed"),
    Request(
        "hangs-up",
        script(at_request="\n        os.closerange(3, 256)\n        time.sleep(600)"),
        504,
        TOO_LONG,
        OVERRAN,
    ),
)


@dataclass
class Street:
    """A platform, and a neighbour under load that must not notice anything."""

    stack: Stack
    neighbour: LoadRun

    def neighbour_is_well(self) -> None:
        self.neighbour.wait_more(RATE // 3)
        assert self.neighbour.counters["failed"] == 0


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    pool = {"id": "small", "cpu": 64, "memory_mb": 65_536}
    env = {
        "MODELYARD_POOLS": json.dumps([pool]),
        "MODELYARD_PREDICTION_TIMEOUT": str(TIMEOUT_S),
        "MODELYARD_INSTANCE_PIDS": str(PIDS),
        "MODELYARD_DRAIN_GRACE": "2",
    }
    with Stack(env=env) as stack:
        if not str(stack.status()["limits"]["kind"]).startswith("cgroup"):
            pytest.skip(f"NO CONTROL GROUPS HERE: {stack.status()['limits']['warnings']}")
        echo = import_echo(stack, folder, "neighbour", "1.0.0")
        service_id = create(stack, [entry(echo, 100)])
        with load(stack, service_id, folder, rate=RATE, connections=2) as running:
            yield Street(stack, running)
        delete(stack, service_id)


def config(model_id: str) -> list[Json]:
    return [
        entry(
            model_id,
            100,
            specification="custom",
            custom_spec={"cpu": 1, "memory": MEMORY_MB},
            pool_name="small",
        )
    ]


@contextmanager
def deployed(street: Street, name: str, text: str, folder: Path, **more: Any) -> Iterator[str]:
    """A service of a package with that script, in whatever state it comes to."""
    stack = street.stack
    model_id = stack.import_model(write_package(folder / name, "1.0.0", text), name, "1.0.0")
    body = {
        "service_name": f"{name}-{uuid.uuid4().hex[:8]}",
        "infer_type": "real-time",
        "config": config(model_id),
        **more,
    }
    service_id = str(stack.api("POST", "/services", body)["service_id"])
    try:
        yield service_id
    finally:
        pids = _inside(stack, service_id)
        delete(stack, service_id)
        assert [pid for pid in pids if identify(pid)] == [], "nothing of it is left"


def _inside(stack: Stack, service_id: str) -> set[int]:
    """Every process in the groups of the service's instances."""
    found: set[int] = set()
    for folder in (stack.home / "run" / "instances").iterdir():
        try:
            spec = json.loads((folder / "spec.json").read_bytes())
            plan = read_confinement(folder)
        except OSError:
            continue
        if plan is not None and spec["service_id"] == service_id:
            found |= {pid for group in plan.groups for pid in pids_in(Path(group))}
    return found


@pytest.mark.parametrize("case", STARTS, ids=lambda case: case.name)
def test_a_package_that_does_not_start(case: Start, street: Street, tmp_path: Path) -> None:
    stack = street.stack
    with deployed(street, case.name, case.script, tmp_path) as service_id:
        until(lambda: stack.show(service_id)["status"] == "failed", 60)
        assert case.told in stack.show(service_id)["error_msg"]
        told = [text for text in events(stack, service_id) if case.told in text]
        assert any("instance ended" in text for text in told), events(stack, service_id)
        assert any(text.startswith("service failed") for text in told), events(stack, service_id)
        answer = stack.predict(service_id, {})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "ModelArts.4203")
        street.neighbour_is_well()


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_a_request_that_goes_wrong(case: Request, street: Street, tmp_path: Path) -> None:
    stack = street.stack
    with deployed(street, case.name, case.script, tmp_path) as service_id:
        stack.wait_status(service_id, "running")
        answer = stack.predict(service_id, {"now": True})
        assert answer.status_code == case.status, answer.text[:500]
        assert case.told in answer.text
        until(lambda: stack.predict(service_id, {}).text == '"fine"', 30)
        if case.event:
            until(
                lambda: any(DIED in t and case.event in t for t in events(stack, service_id)),
                30,
                lambda: str(events(stack, service_id)),
            )
        else:
            assert not any(DIED in text for text in events(stack, service_id))
        assert len(_inside(stack, service_id)) <= PIDS
        street.neighbour_is_well()


def test_output_without_end_is_bounded_and_told(street: Street, tmp_path: Path) -> None:
    """Three files of 5 MiB at the most, whatever is printed: a rate that no disk has to follow."""
    stack = street.stack
    text = script(at_request=FLOOD)
    with deployed(street, "talks", text, tmp_path) as service_id:
        stack.wait_status(service_id, "running")
        folder = stack.home / "logs" / "instances" / service_id

        def dropped() -> bool:
            assert stack.predict(service_id, {"now": True}).status_code == 200
            assert sum(path.stat().st_size for path in folder.iterdir()) < 17 << 20
            return any(b"were dropped" in path.read_bytes() for path in folder.iterdir())

        until(dropped, 60)
        street.neighbour_is_well()


def test_a_package_that_ignores_sigterm_goes_at_its_deadline(
    street: Street, tmp_path: Path
) -> None:
    stack = street.stack
    text = script(at_import="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    with deployed(street, "deaf", text, tmp_path) as service_id:
        stack.wait_status(service_id, "running")
        pids = _inside(stack, service_id)
        # Front and worker, and what the latter was forked by, if it was.
        assert len(pids) in (2, 3)
        stack.api("PUT", f"/services/{service_id}", {"status": "stopped"})
        stack.wait_status(service_id, "stopped")
        until(lambda: [pid for pid in pids if identify(pid)] == [], 30)
        street.neighbour_is_well()
