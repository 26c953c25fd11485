"""New versions that do not work: the old one never loses a prediction, and the cause is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from live import entry, events, import_echo, load, put, service, show, until, wait_update
from model_folders import write_package
from stack import Stack

RATE = 150

SERVICE = '''
"""A model that does not work."""
import os
import sys
import time
{imports}
from model_service.model_service import SingleNodeService


class Broken(SingleNodeService):
    def __init__(self, model_name="", model_path=""):
        super().__init__(model_name, model_path)
        print("reading the weights", flush=True)
        self.requests = 0
        {at_start}

    def _preprocess(self, data):
        return data

    def _inference(self, data):
        self.requests += 1
        {at_request}
        return {{"version": "broken"}}

    def _postprocess(self, data):
        return data
'''


@dataclass(frozen=True)
class Case:
    """Where it breaks, and what the log and the events must name."""

    name: str
    told: str
    imports: str = ""
    at_start: str = "pass"
    at_request: str = "pass"

    @property
    def script(self) -> str:
        return SERVICE.format(
            imports=self.imports, at_start=self.at_start, at_request=self.at_request
        )


CASES = (
    Case("import-error", "no_such_library", imports="import no_such_library"),
    Case(
        "crash-at-start",
        "weights of another model",
        at_start='print("weights of another model", flush=True); os._exit(3)',
    ),
    Case("error-at-start", "shape mismatch", at_start='raise ValueError("shape mismatch")'),
    Case("never-ready", "not ready within 4 s", at_start="time.sleep(3600)"),
)
THIRD = Case(
    "crash-on-request-3",
    "exited with status 7",
    at_request='self.requests < 3 or (print("the third one", flush=True), os._exit(7))',
)


@pytest.fixture(scope="module")
def short_stack() -> Iterator[Stack]:
    """A stack whose instances have 4 seconds to start."""
    with Stack(env={"MODELYARD_DEPLOY_TIMEOUT": "4", "MODELYARD_DRAIN_GRACE": "5"}) as running:
        yield running


def import_case(stack: Stack, case: Case, folder: Path) -> str:
    package = write_package(folder / case.name, "9.0.0", case.script)
    return stack.import_model(package, case.name, "9.0.0")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_version_that_does_not_start(case: Case, short_stack: Stack, tmp_path: Path) -> None:
    stack = short_stack
    good = import_echo(stack, tmp_path, f"good-{case.name}", "1.0.0")
    bad = import_case(stack, case, tmp_path)
    before = [entry(good, 100, 2)]
    with (
        service(stack, before) as service_id,
        load(stack, service_id, tmp_path, rate=RATE) as running,
    ):
        running.wait_more(RATE // 2)
        answer = put(stack, service_id, {"config": [entry(bad, 100, 2)]})
        assert answer.status_code == 200, answer.text
        log = wait_update(stack, service_id)
        until(lambda: "update rolled back" in events(stack, service_id), 30)
        running.wait_more(RATE // 2)
        told = events(stack, service_id)
        served = show(stack, service_id)
        summary = running.stop()
    assert summary.failed == []
    assert set(summary.versions) == {"1.0.0"}
    assert log["result"] == "FAIL"
    assert case.told in log["reason"], log
    [updating] = [number for number, text in enumerate(told) if text == "updating service"]
    [failed] = [n for n, text in enumerate(told) if text.startswith("update failed, rolling back")]
    [back] = [number for number, text in enumerate(told) if text == "update rolled back"]
    assert updating > failed > back, "newest first"
    assert case.told in told[failed], told
    assert served["status"] == "running"
    assert [(c["model_id"], c["instance_count"]) for c in served["config"]] == [(good, 2)]


def test_a_version_that_crashes_on_its_third_request(short_stack: Stack, tmp_path: Path) -> None:
    """Beside the old one it may lose its own predictions, never those of the old one."""
    stack = short_stack
    good = import_echo(stack, tmp_path, "good-third", "1.0.0")
    bad = import_case(stack, THIRD, tmp_path)
    with (
        service(stack, [entry(good, 100, 1)]) as service_id,
        load(stack, service_id, tmp_path, rate=RATE) as running,
    ):
        running.wait_more(RATE // 2)
        answer = put(stack, service_id, {"config": [entry(good, 90, 1), entry(bad, 10, 1)]})
        assert answer.status_code == 200, answer.text
        log = wait_update(stack, service_id)
        until(lambda: "update rolled back" in events(stack, service_id), 30)
        calm = time.time() * 1000
        running.wait_more(RATE)
        told = events(stack, service_id)
        running.stop()
        lost = [record for record in running.records() if not record.ok]
    assert log["result"] == "FAIL", log
    assert THIRD.told in log["reason"], log
    assert any(text.startswith("update failed, rolling back") for text in told)
    assert [record for record in lost if record.version == "1.0.0"] == []
    assert [record for record in lost if record.start_ms > calm] == []


def test_a_replacement_that_crashes_on_its_third_request_is_rolled_back(
    short_stack: Stack, tmp_path: Path
) -> None:
    stack = short_stack
    good = import_echo(stack, tmp_path, "good-replaced", "1.0.0")
    bad = import_case(stack, replace(THIRD, name="replacement-crashes"), tmp_path)
    with (
        service(stack, [entry(good, 100, 2)]) as service_id,
        load(stack, service_id, tmp_path, rate=RATE) as running,
    ):
        running.wait_more(RATE // 2)
        answer = put(stack, service_id, {"config": [entry(bad, 100, 2)]})
        assert answer.status_code == 200, answer.text
        log = wait_update(stack, service_id)
        told = events(stack, service_id)
        running.wait_more(RATE)
        lost = [record for record in running.records() if not record.ok]
    assert log["result"] == "FAIL", log
    assert THIRD.told in log["reason"]
    assert any(text.startswith("update failed, rolling back") for text in told)
    assert [record for record in lost if record.version == "1.0.0"] == []
