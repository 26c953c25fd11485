"""SIGKILL of the control plane after each step of a container's life, on the real stack (R2)."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from live import Json, entry, events, get, load, path, put, service, show, until
from modelyard.steps import Step
from podman_engine import Images, Podman
from preloaded import Preloaded
from stack import Stack

RATE = 60
STEPS = [step for step in Step if step.startswith("container.")]


@pytest.fixture
def stack(podman: Podman) -> Iterator[Stack]:
    more = {"MODELYARD_CONTAINER_HOST": podman.socket, "MODELYARD_DRAIN_GRACE": "10"}
    with Stack(env=more) as running:
        yield running


def import_image(stack: Stack, address: str, version: str) -> str:
    body = {
        "model_name": "crash",
        "model_version": version,
        "model_type": "Image",
        "source_location": address,
    }
    model_id = str(stack.api("POST", "/models", body)["model_id"])

    def published() -> bool:
        model: Json = stack.api("GET", f"/models/{model_id}")
        assert model["model_status"] in ("publishing", "published"), model["failed_reason"]
        return bool(model["model_status"] == "published")

    until(published, 60)
    return model_id


@pytest.mark.timeout(900)
def test_dying_at_each_step(stack: Stack, podman: Podman, images: Images, tmp_path: Path) -> None:
    """An update to another image is carried on: one container is left, and its record is right."""
    models = [import_image(stack, images.make(f"{n}.0.0"), f"{n}.0.0") for n in (1, 2)]
    with (
        Preloaded(stack) as control,
        service(stack, [entry(models[0], 100)]) as service_id,
        load(stack, service_id, tmp_path, rate=RATE, connections=4) as running,
    ):
        for number, step in enumerate(STEPS, 1):
            wanted = models[number % 2]
            control.arm(step)
            answer = put(stack, service_id, {"config": [entry(wanted, 100)]})
            assert answer.status_code == 200, answer.text
            assert control.ended(timeout=60) == -signal.SIGKILL, f"it did not die at {step}"
            control.start()

            def settled(wanted: str = wanted) -> bool:
                logs = get(stack, path(stack, service_id, "logs"))["logs"]
                status = show(stack, service_id)["status"]
                found = records(stack)
                return (
                    "RUNNING" not in {log["result"] for log in logs}
                    and status == "running"
                    and [record["model_id"] for record in found] == [wanted]
                    and ours(podman, stack) == [record["name"] for record in found]
                )

            def told(step: Step = step) -> str:
                what = [events(stack, service_id)[:6], records(stack), ours(podman, stack)]
                return f"{step}: {what}"

            until(settled, 90, told)
            running.wait_more(RATE // 2)
        assert running.stop().failed == []
    # The stack's end looks for a control plane as `up` starts it.
    stack.up()


def records(stack: Stack) -> list[Json]:
    folder = stack.home / "run" / "containers"
    return [json.loads(found.read_bytes()) for found in sorted(folder.glob("*.json"))]


def ours(podman: Podman, stack: Stack) -> list[str]:
    node = (stack.home / "node-id").read_text()
    return [name for name in podman.containers() if name.startswith(f"modelyard-{node}-")]
