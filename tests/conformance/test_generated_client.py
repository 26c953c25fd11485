"""A client that a public generator makes of ``openapi.json`` works (``make test-clients``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack import Stack

ROOT = Path(__file__).parents[2]
GENERATOR = "openapi-python-client==0.29.1"
# Its own environment: the generator holds back the command line's libraries.
NEEDS = (GENERATOR, "httpx", "attrs", "python-dateutil")

pytestmark = pytest.mark.skipif(
    os.environ.get("MODELYARD_TEST_CLIENTS") != "1",
    reason="installs a generator and takes a minute: make test-clients",
)


def _run(*command: str | Path, cwd: Path, path: str = "") -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_generated_client_creates_updates_predicts_lists_and_deletes(
    stack: Stack, model_folders: dict[str, Path], tmp_path: Path
) -> None:
    uv = Path(sys.executable).parent / "uv"
    _run(uv, "venv", "--quiet", "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    _run(uv, "pip", "install", "--quiet", "--python", python, *NEEDS, cwd=tmp_path)
    made = _run(
        *(tmp_path / "env" / "bin" / "openapi-python-client", "generate", "--meta", "none"),
        *("--path", ROOT / "openapi.json", "--output-path", tmp_path / "modelyard_client"),
        cwd=tmp_path,
    )
    # Nothing of the contract is left out.
    assert "Unable to" not in made
    assert "WARNING" not in made
    models = [
        stack.import_model(model_folders[number], f"generated-{number.replace('.', '-')}")
        for number in ("0.0.1", "0.0.2")
    ]
    script = ROOT / "tests" / "support" / "generated_client.py"
    printed = _run(
        *(python, script, stack.address, stack.token(), stack.project_id, *models),
        cwd=tmp_path,
        path=str(tmp_path),
    )
    first, second = json.loads(printed)
    assert (first["version"], second["version"]) == ("0.0.1", "0.0.2")
