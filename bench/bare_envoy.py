"""A bare Envoy with one static route: the floor that any Envoy-based gateway stands on."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from modelyard.gateway.envoy import find_binary

_START_LIMIT_S = 15.0


def _config(port: int, upstream: int) -> dict[str, object]:
    extensions = "type.googleapis.com/envoy.extensions.filters"
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{extensions}.http.router.v3.Router"},
    }
    manager = {
        "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "http_filters": [router],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "instance"}}],
                }
            ]
        },
    }

    def address(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "bare",
                    "address": address(port),
                    "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "instance",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "instance",
                        "endpoints": [
                            {"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}
                        ],
                    },
                }
            ],
        }
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class BareEnvoy:
    """``address`` without a slash at its end."""

    address: str
    pid: int


@contextmanager
def bare_envoy(folder: Path, upstream: int, workers: int) -> Iterator[BareEnvoy]:
    """Run it in front of the instance at ``upstream``.

    Raises ``RuntimeError`` when it does not answer in time.
    """
    port = _free_port()
    config = folder / "bare-envoy.json"
    config.write_text(json.dumps(_config(port, upstream)))
    log = folder / "bare-envoy.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [find_binary(), "-c", str(config), "--concurrency", str(workers),
             "--disable-hot-restart", "--log-level", "warning"],
            stdout=out,
            stderr=out,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _START_LIMIT_S
        while True:
            try:
                httpx.get(f"{address}/health", trust_env=False)
                break
            except httpx.TransportError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"bare Envoy: {log.read_text()[-500:]}") from None
                time.sleep(0.05)
        yield BareEnvoy(address, process.pid)
    finally:
        process.terminate()
        process.wait(10)
