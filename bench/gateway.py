"""What the gateway costs: the same model through it, directly, and behind a bare Envoy.

    python bench/gateway.py [--rounds 5] [--seconds 4] [--model iris|echo]

They take turns within each round, so that a noisy machine is noisy for all of them. What the
request log costs shows between the last two rows, most clearly in Envoy's own CPU time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bare_envoy import bare_envoy
from drive import ROOT, Result, console, median, show_table, wrk

from live import BODY, entry, import_echo, infer_url, service
from stack import Stack

IRIS_ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
WORKERS = 1


def import_iris(stack: Stack, folder: Path) -> str:
    """Train the first iris example in a copy and import it."""
    package = folder / "iris"
    shutil.copytree(ROOT / "examples" / "iris-1", package)
    subprocess.run([sys.executable, str(package / "train.py")], check=True, capture_output=True)
    return stack.import_model(package, "iris", "1.0.0")


def prepare(stack: Stack, folder: Path, model: str) -> tuple[str, Path]:
    """The model's id and a file with a request for it."""
    body = folder / "body.json"
    if model == "iris":
        body.write_text(json.dumps({"data": {"req_data": [IRIS_ROW]}}))
        return import_iris(stack, folder), body
    body.write_text(BODY)
    return import_echo(stack, folder, "echo", "1.0.0"), body


def instance_port(stack: Stack, service_id: str) -> int:
    for found in stack.status()["instances"]:
        if found["service_id"] == service_id and found["state"] == "ready":
            return int(found["port"])
    raise RuntimeError("the service has no ready instance")


@dataclass(frozen=True, slots=True)
class Target:
    """``envoy``: its process, whose CPU time counts; None for the instance itself."""

    name: str
    url: str
    token: str
    envoy: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """``cpu_us``: Envoy's CPU time per prediction, in microseconds."""

    result: Result
    cpu_us: float


def cpu_seconds(pid: int | None) -> float:
    """User and system time that the process has had."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def gateway_pid(stack: Stack) -> int:
    return int(json.loads((stack.home / "run" / "gateway.json").read_text())["pid"])


@contextlib.contextmanager
def targets(model: str, folder: Path) -> Iterator[tuple[list[Target], Path]]:
    """Everything that takes turns, and a file with a request."""
    with contextlib.ExitStack() as parts:
        found = []
        for name, log_mb in (("Modelyard's gateway", 64), ("the same, no request log", 0)):
            stack = parts.enter_context(
                Stack(
                    env={
                        "MODELYARD_GATEWAY_WORKERS": str(WORKERS),
                        "MODELYARD_REQUEST_LOG_MB": str(log_mb),
                    }
                )
            )
            own = folder / str(log_mb)
            own.mkdir()
            model_id, body = prepare(stack, own, model)
            service_id = parts.enter_context(service(stack, [entry(model_id, 100)]))
            url, token = infer_url(stack, service_id), stack.token()
            if not found:
                port = instance_port(stack, service_id)
                bare = parts.enter_context(bare_envoy(folder, port, WORKERS))
                found.append(Target("instance, directly", f"http://127.0.0.1:{port}/", token))
                found.append(
                    Target("bare Envoy, one static route", f"{bare.address}/", token, bare.pid)
                )
            found.append(Target(name, url, token, gateway_pid(stack)))
        yield found, body


def take_turn(target: Target, body: Path, connections: int, seconds: float) -> Run:
    before = cpu_seconds(target.envoy)
    result = wrk(
        target.url, token=target.token, body=body, connections=connections, seconds=seconds
    )
    spent = cpu_seconds(target.envoy) - before
    return Run(result, 1e6 * spent / (result.per_second * seconds))


def measure(options: argparse.Namespace, folder: Path) -> dict[tuple[str, int], list[Run]]:
    """Runs by (target, connections), one per round."""
    found: dict[tuple[str, int], list[Run]] = {}
    with targets(options.model, folder) as (turns, body):
        for number in range(-1, options.rounds):
            for connections in options.connections:
                for target in turns:
                    seconds = options.seconds if number >= 0 else 1
                    run = take_turn(target, body, connections, seconds)
                    # The round before the first one only warms up.
                    if number >= 0:
                        found.setdefault((target.name, connections), []).append(run)
            console.print(f"round {number + 1} of {options.rounds}", style="dim")
    return found


def rows_of(found: dict[tuple[str, int], list[Run]], connections: int) -> list[tuple[str, ...]]:
    runs = {name: runs for (name, c), runs in found.items() if c == connections}
    results = {name: median([run.result for run in own]) for name, own in runs.items()}
    direct, bare, *_ = results.values()
    return [
        (
            name,
            f"{result.per_second:,.0f}",
            f"{result.p50_ms:.2f}",
            f"{result.p99_ms:.2f}",
            f"{result.per_second / direct.per_second:.2f}",
            f"{result.per_second / bare.per_second:.2f}",
            f"{spent:.1f}" if (spent := statistics.median(r.cpu_us for r in runs[name])) else "",
            str(result.failed),
        )
        for name, result in results.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--model", choices=["iris", "echo"], default="iris")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = measure(options, Path(folder))
    for connections in options.connections:
        show_table(
            f"{options.model}, {connections} connection{'s' * (connections > 1)}, "
            f"median of {options.rounds} rounds of {options.seconds:g} s",
            (
                "target",
                "predictions/s",
                "p50 ms",
                "p99 ms",
                "of direct",
                "of bare",
                "Envoy µs CPU",
                "failed",
            ),
            rows_of(found, connections),
        )


if __name__ == "__main__":
    main()
