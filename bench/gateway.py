"""What the gateway costs: the same instance through it, directly, and behind a bare Envoy.

    python bench/gateway.py [--rounds 5] [--seconds 4] [--model iris|echo]

The three take turns within each round, so that a noisy machine is noisy for all of them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
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


def measure(options: argparse.Namespace, folder: Path) -> dict[tuple[str, int], list[Result]]:
    """Results by (target, connections), one per round."""
    found: dict[tuple[str, int], list[Result]] = {}
    environment = {"MODELYARD_GATEWAY_WORKERS": str(WORKERS)}
    with Stack(env=environment) as stack:
        model_id, body = prepare(stack, folder, options.model)
        with service(stack, [entry(model_id, 100)]) as service_id:
            port = instance_port(stack, service_id)
            with bare_envoy(folder, port, WORKERS) as bare:
                targets = {
                    "instance, directly": f"http://127.0.0.1:{port}/",
                    "bare Envoy, one static route": f"{bare}/",
                    "Modelyard's gateway": infer_url(stack, service_id),
                }
                token = stack.token()
                for number in range(-1, options.rounds):
                    for connections in options.connections:
                        for name, url in targets.items():
                            result = wrk(
                                url,
                                token=token,
                                body=body,
                                connections=connections,
                                seconds=options.seconds if number >= 0 else 1,
                            )
                            # The round before the first one only warms up.
                            if number >= 0:
                                found.setdefault((name, connections), []).append(result)
                    console.print(f"round {number + 1} of {options.rounds}", style="dim")
    return found


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
        results = {name: median(r) for (name, c), r in found.items() if c == connections}
        direct, bare, _ = results.values()
        rows = [
            (
                name,
                f"{result.per_second:,.0f}",
                f"{result.p50_ms:.2f}",
                f"{result.p99_ms:.2f}",
                f"{result.per_second / direct.per_second:.2f}",
                f"{result.per_second / bare.per_second:.2f}",
                str(result.failed),
            )
            for name, result in results.items()
        ]
        show_table(
            f"{options.model}, {connections} connection{'s' * (connections > 1)}, "
            f"median of {options.rounds} rounds of {options.seconds:g} s",
            ("target", "predictions/s", "p50 ms", "p99 ms", "of direct", "of bare", "failed"),
            rows,
        )


if __name__ == "__main__":
    main()
