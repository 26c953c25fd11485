"""``modelyard check`` on real packages: what it says, how it ends, what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}}
CONFIG = {
    "model_type": "MindSpore",
    "model_algorithm": "predict_analysis",
    "apis": [{"url": "/", "request": {"Content-type": "application/json", "data": SCHEMA}}],
}
SCRIPT = """
from model_service.model_service import SingleNodeService
import numpy as np
print("loaded")
class Double(SingleNodeService):
    def _inference(self, data):
        return {"y": np.float64(data["x"]) * 2, "z": float("nan")}
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    model = tmp_path / "package" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(CONFIG))
    (model / "customize_service.py").write_text(SCRIPT)
    return tmp_path / "package"


def check(package: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run it in a temporary folder of its own, which must be empty afterwards."""
    scratch = package.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "modelyard", "check", str(package), *more],
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(scratch.iterdir()) == []
    return done


def told(package: Path, *more: str) -> tuple[int, dict[str, Any]]:
    done = check(package, "--json", *more)
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def test_a_good_package_is_started_asked_and_measured(package: Path) -> None:
    before = sorted(str(one) for one in package.rglob("*"))
    status, found = told(package, "--rate", "100000")
    assert (status, found["ok"]) == (0, True)
    assert {(one["kind"], one["where"]) for one in found["findings"]} == {
        ("result-foreign", "answer.y"),
        ("result-nan", "answer.z"),
    }
    measured = found["measured"]
    assert json.loads(measured["answer"]) == {"y": 2.0, "z": None}
    for name in (
        *("first_start_s", "second_start_s", "first_prediction_ms", "prediction_ms"),
        *("model_memory_mb", "server_memory_mb", "memory_needed_mb"),
    ):
        assert measured[name] > 0, name
    assert measured["specification"] == "modelarts.vm.cpu.2u"
    assert measured["instance_count"] > 1
    assert sorted(str(one) for one in package.rglob("*")) == before


def test_a_static_check_runs_nothing(package: Path) -> None:
    canary = package / "canary"
    script = package / "model" / "customize_service.py"
    script.write_text(f"open({str(canary)!r}, 'w')\nimport no_such_thing\n{SCRIPT}")
    status, found = told(package, "--static")
    assert status == 0
    assert [one["kind"] for one in found["findings"]] == ["import"]
    assert found["measured"] == {}
    assert not canary.exists()


def test_a_package_that_does_not_start_ends_with_its_reason_and_log(package: Path) -> None:
    script = package / "model" / "customize_service.py"
    script.write_text(SCRIPT + "raise RuntimeError('no device')\n")
    done = check(package)
    assert done.returncode == 1
    assert "RuntimeError: no device" in done.stdout
    assert "customize_service.py:8" in done.stdout
    assert "model loaded" in done.stderr


def test_a_request_of_ones_own_must_be_answered(package: Path, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text('{"other": 1}')
    status, found = told(package, "--request", str(request))
    assert status == 1
    (failed,) = [one for one in found["findings"] if one["level"] == "error"]
    assert "answered with 400" in failed["says"]
    assert "KeyError: 'x'" in failed["says"]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ('{"model_type": "MindSpore",\n"model_algorithm": }', "line 2, column 20"),
        ('{"model_type": "MindSpore"}', "model_algorithm"),
    ],
)
def test_a_broken_config_is_not_started(package: Path, raw: str, words: str) -> None:
    (package / "model" / "config.json").write_text(raw)
    done = check(package)
    assert done.returncode == 1
    assert words in done.stdout
    assert "start" not in done.stderr


def test_what_is_no_package_is_said(tmp_path: Path) -> None:
    (tmp_path / "package.zip").write_bytes(b"PK")
    done = check(tmp_path / "package.zip")
    assert (done.returncode, "Unpack archives first" in done.stderr) == (1, True)
