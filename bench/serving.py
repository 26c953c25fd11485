"""How the servers that bench/model_server.py compares are started, whatever model they serve."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BATCH = 64
WAITING = {"max_batch_size": BATCH, "max_batch_time": 0.002}
"""MLServer's adaptive batching; the wait is as short as pays."""


@dataclass(frozen=True, slots=True)
class Server:
    """How to start a server on ``port`` and what to send it.

    ``command`` is given the port; ``ready`` returns the base address once it can be known (ours
    chooses its own port).
    """

    name: str
    command: Callable[[int], list[str]]
    folder: Path
    path: str = "/"
    body: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    state: Path | None = None


def gunicorn(programs: Path, folder: Path, body: str) -> Server:
    """``app.py`` in ``folder`` behind gunicorn: one worker, threads for the connections."""
    options = ["--workers", "1", "--threads", "4", "--timeout", "0", "--log-level", "error"]
    return Server(
        "Flask, gunicorn",
        lambda port: [
            *(str(programs / "gunicorn"), *options, "--keep-alive", "75"),
            *("--bind", f"127.0.0.1:{port}", "app:app"),
        ],
        folder,
        body=body,
    )


def mlserver_of(
    name: str, programs: Path, folder: Path, settings: Mapping[str, object], body: str
) -> Server:
    """MLServer with the model that ``settings`` describe, fast on one core."""
    (folder / "model-settings.json").write_text(json.dumps(settings))

    def command(port: int) -> list[str]:
        # Its three ports, the first of them HTTP.
        served = {
            "debug": False,
            "host": "127.0.0.1",
            "http_port": port,
            "grpc_port": port + 1,
            "metrics_port": port + 2,
            "metrics_endpoint": None,
            "gzip_enabled": False,
            "parallel_workers": 0,
        }
        (folder / "settings.json").write_text(json.dumps(served))
        return [str(programs / "mlserver"), "start", str(folder)]

    return Server(name, command, folder, f"/v2/models/{settings['name']}/infer", body)


def bentoml_of(name: str, programs: Path, folder: Path, service: str, body: str) -> Server:
    """BentoML with the class ``service`` of ``service.py`` in ``folder``."""
    return Server(
        name,
        lambda port: [
            *(str(programs / "bentoml"), "serve", f"service:{service}"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        folder,
        "/predict",
        body,
        {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder / "home")},
    )
