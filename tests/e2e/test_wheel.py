"""The wheel alone, in an empty environment: install, up, quickstart, down (`make test-wheel`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ports import free_port

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    "MODELYARD_TEST_WHEEL" not in os.environ,
    reason="installs everything anew; `make test-wheel` runs it",
)


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_types_and_examples_and_no_weights(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("modelyard/py.typed", "modelyard_instance/py.typed"):
        assert name in names
    assert "modelyard/_examples/iris-1/train.py" in names
    assert not [name for name in names if name.endswith((".pkl", ".joblib", ".png"))]


@pytest.mark.timeout(900)
def test_the_quickstart_works_without_a_checkout(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, venv)
    python = venv / "bin" / "python"
    run(
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python),
        f"modelyard[examples] @ {wheel.as_uri()}",
    )
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    env = {
        **kept,
        "PATH": f"{venv / 'bin'}:/usr/bin:/bin",
        "MODELYARD_HOME": str(tmp_path / "home"),
        "MODELYARD_PORT": str(free_port()),
    }
    run("modelyard", "up", "--detach", env=env, cwd=tmp_path)
    try:
        summary = json.loads(run("modelyard", "quickstart", "--json", env=env, cwd=tmp_path))
        assert summary["shifted"] == {"0.0.2": 300}
    finally:
        run("modelyard", "down", env=env, cwd=tmp_path)
