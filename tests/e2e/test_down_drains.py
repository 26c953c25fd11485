"""``modelyard down`` lets the gateway answer the predictions that it has taken on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from live import until
from model_folders import write_package
from stack import Stack

SLOW = """
    import time
    from pathlib import Path

    from model_service.model_service import SingleNodeService


    class Slow(SingleNodeService):
        def _preprocess(self, data):
            return data

        def _inference(self, data):
            Path("computing").touch()
            time.sleep(3)
            return {"done": True}

        def _postprocess(self, data):
            return data
"""


def kill_nothing(_stack: Stack) -> None:
    """The ordinary case."""


@pytest.mark.parametrize("first", [kill_nothing, Stack.kill_control_plane])
def test_a_prediction_under_way_is_answered(
    fresh_stack: Stack, tmp_path: Path, first: Callable[[Stack], object]
) -> None:
    package = write_package(tmp_path / "slow", "1.0.0", SLOW)
    model_id = fresh_stack.import_model(package, "slow", "1.0.0")
    service_id = fresh_stack.create_service("slow", {model_id: 100})
    # The only place where every instance may write: its current folder.
    instances = fresh_stack.home / "run" / "instances"
    answers: list[httpx.Response | Exception] = []

    def predict() -> None:
        try:
            answers.append(fresh_stack.predict(service_id, {"now": True}))
        except httpx.HTTPError as error:
            answers.append(error)

    client = threading.Thread(target=predict)
    client.start()
    try:
        until(lambda: list(instances.glob("*/work*/computing")), 10)
        first(fresh_stack)
        fresh_stack.down()
    finally:
        client.join()
    (answer,) = answers
    assert isinstance(answer, httpx.Response), answer
    assert (answer.status_code, answer.json()) == (200, {"done": True})
