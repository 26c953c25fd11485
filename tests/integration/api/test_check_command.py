"""``modelyard check`` on real packages: what it says, how it ends, what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wheels import write_wheel

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


def check(package: Path, *more: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run it in a temporary folder of its own, which must be empty afterwards.

    ``settings``: variables, beside a home and an index of distributions beside the package.
    """
    scratch = package.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "modelyard", "check", str(package), *more],
        env={
            **os.environ,
            "TMPDIR": str(scratch),
            "MODELYARD_HOME": str(package.parent / "home"),
            "MODELYARD_PACKAGE_INDEX": str(package.parent / "index"),
            **settings,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(scratch.iterdir()) == []
    return done


def told(package: Path, *more: str, **settings: str) -> tuple[int, dict[str, Any]]:
    done = check(package, "--json", *more, **settings)
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


LIBRARY = """
from model_service.model_service import SingleNodeService
import tiny
class Versions(SingleNodeService):
    def _inference(self, data):
        return {"y": tiny.Number(), "version": tiny.VERSION}
"""
NUMBER = 'VERSION = "1.0"\nclass Number:\n    def tolist(self):\n        return 7\n'


@pytest.fixture
def dependent(package: Path) -> Path:
    """A package that needs a library which the platform's own environment lacks."""
    write_wheel(package.parent / "index", "tiny", "1.0", {"tiny.py": NUMBER})
    pin = {"package_name": "tiny", "package_version": "0.5", "restraint": "EXACT"}
    config = {**CONFIG, "dependencies": [{"installer": "pip", "packages": [pin]}]}
    (package / "model" / "config.json").write_text(json.dumps(config))
    (package / "model" / "customize_service.py").write_text(LIBRARY)
    return package


def test_it_is_tried_in_the_environment_that_an_import_would_give_it(dependent: Path) -> None:
    status, found = told(dependent)
    assert (status, found["ok"]) == (0, True)
    measured = found["measured"]
    assert json.loads(measured["answer"]) == {"y": 7, "version": "1.0"}
    assert measured["environment"] == "built"
    assert measured["environment_build_s"] > 0
    assert measured["environment_size_mb"] >= 0
    said = {one["kind"]: one["says"] for one in found["findings"]}
    assert "tiny 1.0 is used" in said["relaxed"]
    # The rehearsal ran there, too.
    assert "tiny.Number" in said["result-foreign"]
    done = check(dependent)
    assert "building its environment" not in done.stderr
    assert "environment" in done.stdout
    assert "reused" in done.stdout


def test_what_is_built_is_told_while_it_is(dependent: Path) -> None:
    told_meanwhile = check(dependent).stderr
    assert "building its environment: tiny==0.5" in told_meanwhile
    assert "1 distributions resolved; installing" in told_meanwhile


def test_without_its_environment_it_is_tried_in_ours(dependent: Path) -> None:
    status, found = told(dependent, "--no-environment")
    assert status == 1
    said = {one["kind"]: one for one in found["findings"]}
    assert "tiny==0.5 was not installed" in said["environment"]["says"]
    assert "No module named 'tiny'" in said["start"]["says"]
    assert not (dependent.parent / "home" / "environments").exists()


def test_what_cannot_be_installed_is_a_finding_and_nothing_is_tried(dependent: Path) -> None:
    away = {"MODELYARD_PACKAGE_INDEX": "http://127.0.0.1:1/simple", "UV_HTTP_RETRIES": "0"}
    status, found = told(dependent, **away)
    assert (status, found["measured"]) == (1, {})
    [failed] = [one for one in found["findings"] if one["level"] == "error"]
    assert failed["kind"] == "environment"
    assert "127.0.0.1:1" in failed["says"]
    assert "--no-environment" in failed["fix"]
    left = (dependent.parent / "home" / "environments").iterdir()
    assert {one.name for one in left} <= {".cache"}
