from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from standin import StandIn, running

from modelyard.cli.app import main


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with running() as server:
        yield server


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def modelyard(
    standin: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Ran]:
    """Runs a command against the stand-in, with a home whose credentials point there."""
    for name in ("OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "MODELYARD_HOME"):
        monkeypatch.delenv(name, raising=False)
    document = {
        "auth_url": f"{standin.address}/v3",
        "region": "local",
        "domain_name": "acme",
        "user_name": "admin",
        "password": "right",
        "project_name": "local",
        "project_id": "p1",
    }
    (tmp_path / "credentials.json").write_text(json.dumps(document))
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path))

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["modelyard", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        code = caught.value.code
        return Ran(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run
