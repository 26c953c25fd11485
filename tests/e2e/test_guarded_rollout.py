"""Guarded rollouts on the whole platform: bad versions go back by themselves, a good one arrives.

Nobody but the load's clients tells the platform anything between the update and its end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from live import Json, entry, events, load, put, service, show, wait_update
from loadrun import LoadRun
from model_folders import write_package
from stack import Stack, wait_for

# Every instance answers after MILLISECONDS, and its EVERYth prediction fails (0: none).
SCRIPT = """
import itertools
import time

from model_service.model_service import SingleNodeService

CALLS = itertools.count(1)


class Model(SingleNodeService):
    def _inference(self, data):
        time.sleep({milliseconds} / 1000)
        if {every} and next(CALLS) % {every} == 0:
            raise RuntimeError("a bad day")
        return {{"version": "{version}"}}
"""
STEPS = (20, 50)
ROLLOUT = {
    "steps": list(STEPS),
    "hold_seconds": 3,
    "min_samples": 20,
    "max_error_increase": 0.01,
    "max_latency_ratio": 1.5,
}
LIMIT_S = 120


@dataclass(frozen=True)
class Models:
    """Ids: 1.0.0 answers after 10 ms, 2.0.0 with 5 % errors, 3.0.0 after 30 ms, 4.0.0 as 1.0.0."""

    stable: str
    erring: str
    slow: str
    good: str


@pytest.fixture(scope="module")
def models(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    folder = tmp_path_factory.mktemp("guarded")
    kinds = (("1.0.0", 10, 0), ("2.0.0", 10, 20), ("3.0.0", 30, 0), ("4.0.0", 10, 0))
    ids = []
    for version, milliseconds, every in kinds:
        script = SCRIPT.format(version=version, milliseconds=milliseconds, every=every)
        package = write_package(folder / version, version, script)
        ids.append(stack.import_model(package, "guarded", version))
    yield Models(*ids)


def guarded_update(stack: Stack, service_id: str, model_id: str) -> Json:
    """Ask for a guarded rollout of the version and wait for its end; gives the update's log."""
    body = {
        "config": [entry(model_id, 100, 2)],
        "additional_properties": {"rollout": ROLLOUT},
    }
    answer = put(stack, service_id, body)
    assert answer.status_code == 200, answer.text
    return wait_update(stack, service_id, LIMIT_S)


def rollbacks(stack: Stack, service_id: str) -> int:
    return sum("update rolled back" in event for event in events(stack, service_id))


def refused(stack: Stack, running: LoadRun, service_id: str, model_id: str, stable: str) -> str:
    """The update must be rolled back; gives the reason. From the event that says so on the stable
    version alone answers, and nothing fails.
    """
    before = rollbacks(stack, service_id)
    log = guarded_update(stack, service_id, model_id)
    told = events(stack, service_id)
    assert log["result"] == "FAIL", (log, told)
    wait_for(lambda: rollbacks(stack, service_id) > before, 30, "the end of the rollback")
    back = time.time() * 1000
    running.wait_more(200)
    after = [r for r in running.records() if r.start_ms > back]
    assert {r.version for r in after} == {stable}
    assert [r.error for r in after if not r.ok] == []
    assert [c["model_version"] for c in show(stack, service_id)["config"]] == [stable]
    assert show(stack, service_id)["status"] == "running"
    assert any("goes back" in event for event in told), told
    assert any("20 % of the traffic" in event for event in told), told
    return str(log["reason"])


def test_bad_versions_go_back_and_a_good_one_arrives(
    stack: Stack, models: Models, tmp_path: Path
) -> None:
    with (
        service(stack, [entry(models.stable, 100, 2)]) as service_id,
        load(stack, service_id, tmp_path, rate=100, connections=8) as running,
    ):
        running.wait_more(100)

        reason = refused(stack, running, service_id, models.erring, "1.0.0")
        assert "[guarded 2.0.0] answers" in reason
        assert "errors against 0.0 % of the stable version" in reason

        reason = refused(stack, running, service_id, models.slow, "1.0.0")
        assert "[guarded 3.0.0] takes longer than" in reason

        begun = time.time() * 1000
        log = guarded_update(stack, service_id, models.good)
        told = events(stack, service_id)
        assert log["result"] == "SUCCESS", (log, told)
        done = time.time() * 1000
        running.wait_more(200)
        during = running.records(begun, done)
        after = [r for r in running.records() if r.start_ms > done]
        assert {r.version for r in after} == {"4.0.0"}
        assert [r.error for r in (*during, *after) if not r.ok] == []
        both = {r.version for r in during}
        assert both == {"1.0.0", "4.0.0"}
        for number, percent in enumerate(STEPS, 1):
            step = f"guarded rollout: step {number} of {len(STEPS)}"
            assert any(event == f"{step}, {percent} % of the traffic" for event in told), told
            assert any(event.startswith(f"{step} goes on: [guarded 4.0.0]") for event in told)
        running.stop()
