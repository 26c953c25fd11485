"""Versions of one library side by side in one service, each in its model's own environment."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from live import entry, events, put, service, until, wait_update
from model_folders import write_package
from stack import Stack
from wheels import write_wheel

SCRIPT = """
    import sys

    import tiny
    from model_service.model_service import SingleNodeService


    class Telling(SingleNodeService):
        def _inference(self, data):
            ours = [name for name in ("sqlalchemy", "fastapi", "uvicorn") if _there(name)]
            fast = "orjson" in sys.modules
            return {"version": tiny.VERSION, "prefix": sys.prefix, "ours": ours, "fast": fast}


    def _there(name):
        try:
            __import__(name)
        except ImportError:
            return False
        return True
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    for version in ("1.0", "2.0"):
        write_wheel(folder, "tiny", version)
    return folder


@pytest.fixture(scope="module")
def yard(index: Path) -> Iterator[Stack]:
    """A platform whose distributions come from a folder."""
    with Stack(env={"MODELYARD_PACKAGE_INDEX": str(index)}) as running:
        yield running


def pinned(stack: Stack, folder: Path, pin: str, version: str) -> str:
    """A model of a package that pins ``tiny`` to ``pin``."""
    packages = [{"package_name": "tiny", "package_version": pin, "restraint": "EXACT"}]
    dependencies = [{"installer": "pip", "packages": packages}]
    package = write_package(folder / version, version, SCRIPT, dependencies=dependencies)
    return stack.import_model(package, "pinned", version)


def test_two_versions_of_a_library_serve_half_the_traffic_each(
    yard: Stack, index: Path, tmp_path: Path
) -> None:
    models = [pinned(yard, tmp_path, f"{n}.0", f"{n}.0.0") for n in (1, 2)]
    digests = {yard.api("GET", f"/models/{m}")["environment"]["digest"] for m in models}
    assert len(digests) == 2
    # Once built, an environment needs nobody.
    for wheel in index.iterdir():
        wheel.rename(tmp_path / wheel.name)
    try:
        with service(yard, [entry(m, 50) for m in models]) as service_id:
            answers = [yard.predict(service_id) for _ in range(400)]
    finally:
        for wheel in tmp_path.glob("*.whl"):
            wheel.rename(index / wheel.name)
    assert {answer.status_code for answer in answers} == {200}
    told = [answer.json() for answer in answers]
    share = Counter(one["version"] for one in told)
    assert set(share) == {"1.0", "2.0"}
    assert 150 <= share["1.0"] <= 250, share
    assert {one["prefix"] for one in told} == {
        str(yard.home / "environments" / digest / "venv") for digest in digests
    }
    assert [one["ours"] for one in told if one["ours"]] == []
    assert all(one["fast"] for one in told)


def test_a_rollout_to_another_version_of_a_library_loses_nothing(
    yard: Stack, tmp_path: Path
) -> None:
    old, new = (pinned(yard, tmp_path, f"{n}.0", f"{n}.1.0") for n in (1, 2))
    with service(yard, [entry(old, 100)]) as service_id:
        over = threading.Event()
        seen: list[tuple[int, str]] = []

        def predict() -> None:
            while not over.is_set():
                answer = yard.predict(service_id)
                seen.append((answer.status_code, answer.text))

        caller = threading.Thread(target=predict)
        caller.start()
        try:
            until(lambda: len(seen) > 20, 30)
            assert put(yard, service_id, {"config": [entry(new, 100)]}).status_code == 200
            assert wait_update(yard, service_id)["result"] == "SUCCESS", events(yard, service_id)
            count = len(seen)
            until(lambda: len(seen) > count + 20, 30)
        finally:
            over.set()
            caller.join()
    assert [one for one in seen if one[0] != 200] == []
    assert '"version":"1.0"' in seen[0][1].replace(" ", "")
    assert '"version":"2.0"' in seen[-1][1].replace(" ", "")


def test_show_tells_what_was_relaxed(yard: Stack, tmp_path: Path) -> None:
    pinned(yard, tmp_path, "0.1", "3.0.0")
    shown = yard.run("model", "show", "pinned:3.0.0").stdout
    assert re.search(r"1 distribution, [\d.]+ .B, relaxed\)", shown), shown
    assert "tiny==0.1 cannot be had here" in shown
    assert "tiny 2.0 is used" in shown
