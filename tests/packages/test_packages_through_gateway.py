"""Packages as they occur in the field, each imported, deployed and called through the gateway."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from rows import ROWS
from stories import FOLDER, STORIES, Call, Story, model_type

from live import create, delete, entry, events, until
from stack import Stack


def test_every_row_has_a_package() -> None:
    shown = {row for story in STORIES for row in story.shows}
    assert shown - set(ROWS) == set(), "a story shows what is no row"
    assert set(ROWS) - shown == set(), "no story shows these rows"


def test_no_package_passes_for_an_engine() -> None:
    # This folder is on the tests' path: a package called mxnet could be imported as mxnet.
    engines = {
        name
        for one in (*STORIES, *(c for s in STORIES for c in s.calls))
        for name in (one.unless, getattr(one, "needs", ""))
        if name
    }
    assert engines & {one.name for one in STORIES} == set()


def test_every_package_has_a_story() -> None:
    assert {one.parent.name for one in FOLDER.glob("*/model")} == {one.name for one in STORIES}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_package_runs_as_it_did(stack: Stack, story: Story, tmp_path: Path) -> None:
    if story.unless and importlib.util.find_spec(story.unless):
        pytest.skip(f"{story.unless} is installed here; this shows what happens without")
    if story.needs and not importlib.util.find_spec(story.needs):
        pytest.skip(f"NOT SHOWN: {story.needs} is not installed")
    model = _imported(stack, story, tmp_path)
    if story.import_fails:
        assert model["model_status"] == "failed"
        assert story.import_fails in model["failed_reason"]
        assert "config.json" in model["failed_reason"]
        return
    assert model["model_status"] == "published", model["failed_reason"]
    told = stack.api("GET", f"/models/{model['model_id']}/events")["events"]
    told_text = "\n".join(event["event_info"] for event in told)
    for words in story.warned:
        assert words in told_text
    with _deployed(stack, model["model_id"], fails=bool(story.start_fails)) as service_id:
        if story.start_fails:
            assert any(story.start_fails in text for text in events(stack, service_id))
            return
        for number, call in enumerate(story.calls):
            if not (call.unless and importlib.util.find_spec(call.unless)):
                _check(_call(stack, service_id, call), call, number)
        log = _log(stack, service_id)
        for words in story.logged:
            assert words in log


def _imported(stack: Stack, story: Story, folder: Path) -> dict[str, Any]:
    """The model of the story's package, once its import is over."""
    package = folder / story.name
    shutil.copytree(FOLDER / story.name, package, ignore=shutil.ignore_patterns("__pycache__"))
    if story.weights is not None:
        story.weights(package / "model")
    target = stack.home / "objects" / "fidelity" / story.name
    shutil.copytree(package, target)
    body = {
        "model_name": story.name,
        "model_version": "0.0.1",
        "model_type": model_type(story),
        "source_location": f"obs://fidelity/{story.name}/",
    }
    model_id = stack.api("POST", "/models", body)["model_id"]

    def settled() -> dict[str, Any] | None:
        found: dict[str, Any] = stack.api("GET", f"/models/{model_id}")
        return None if found["model_status"] in ("publishing", "building") else found

    model: dict[str, Any] = until(settled, 180)
    return model


@contextmanager
def _deployed(stack: Stack, model_id: str, *, fails: bool) -> Iterator[str]:
    if not fails:
        service_id = create(stack, [entry(model_id, 100)])
    else:
        body = {
            "service_name": f"fails-{model_id[:8]}",
            "infer_type": "real-time",
            "config": [entry(model_id, 100)],
        }
        service_id = stack.api("POST", "/services", body)["service_id"]
        until(lambda: stack.show(service_id)["status"] == "failed", 90)
    try:
        yield service_id
    finally:
        delete(stack, service_id)


def _call(stack: Stack, service_id: str, call: Call) -> httpx.Response:
    url = f"/v1/infers/{service_id}{call.path}"
    if call.files or call.fields:
        return stack.client.post(url, files=call.files, data=call.fields)
    if call.raw is not None:
        return stack.client.post(
            url, content=call.raw, headers={"content-type": "application/json"}
        )
    return stack.client.post(url, json=call.body)


def _check(answer: httpx.Response, call: Call, number: int) -> None:
    assert answer.status_code == call.status, (number, answer.text)
    assert call.says in answer.text, number
    if not call.says:
        assert answer.json() == call.want, number
    assert answer.headers["content-type"].startswith("application/json"), number


def _log(stack: Stack, service_id: str) -> str:
    files = (stack.home / "logs").rglob("*.log*")
    return "".join(
        one.read_text(errors="replace") for one in sorted(files) if service_id in str(one)
    )
