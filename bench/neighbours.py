"""Does a service notice that the one beside it misbehaves? (quality.md R6)

    python bench/neighbours.py [--rounds 3] [--seconds 4] [--rate 300] [--kinds leak …]

A neighbour under steady load, by turns alone and beside each kind of misbehaviour; in "alone" the
others are deployed and idle. Each has a flavour of one core and 256 MB, so that of two cores one is
left for the neighbour, the gateway, the control plane and the load generator together: with fewer
there is nothing to measure. "Honest work" is a service that computes within its flavour, as anybody
may: what it costs the neighbour is the price of sharing cores. Exit status 1 when a p99 is more
than 20 % above the one alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from drive import console, show_table
from misbehaving import HEADER_SERVER, KINDS, Kind, misbehaving

from live import create, entry, import_echo, load
from loadrun import LoadRun, Record, summarise
from model_folders import write_package
from podman_engine import Images, Podman, missing
from stack import Stack

MEMORY_MB = 256
MOST = 1.2
_SETTLE_S = 0.5
_ENV = {
    "MODELYARD_PREDICTION_TIMEOUT": "3",
    "MODELYARD_INSTANCE_PIDS": "64",
    "MODELYARD_DRAIN_GRACE": "2",
    "MODELYARD_RESTART_BUDGET": "0",
}


@dataclass
class Seen:
    """What the neighbour's callers saw, round by round: alone, and right after that beside."""

    alone: list[Sequence[Record]] = field(default_factory=list)
    beside: list[Sequence[Record]] = field(default_factory=list)


def config(model_id: str) -> list[dict[str, object]]:
    spec = {"cpu": 1, "memory": MEMORY_MB}
    return [entry(model_id, 100, specification="custom", custom_spec=spec, pool_name="street")]


def import_kind(kind: Kind, stack: Stack, images: Images | None, folder: Path) -> str:
    """The model's id. A kind with an image brings its server as a package."""
    name = kind.name.replace(" ", "-").replace("/", "-")
    if images is None or not kind.image:
        package = write_package(folder / name, "1.0.0", kind.script)
        return stack.import_model(package, f"m-{name}", "1.0.0")
    model = stack.home / "objects" / "street" / name / "model"
    model.mkdir(parents=True)
    (model / "serve.py").write_text(HEADER_SERVER)
    body = {
        "model_name": f"m-{name}",
        "model_version": "1.0.0",
        "model_type": "Custom",
        "source_location": f"obs://street/{name}/",
        "runtime": images.make("1.0.0"),
        "cmd": "/python/bin/python3 /home/mind/model/serve.py",
    }
    model_id = str(stack.api("POST", "/models", body)["model_id"])
    stack.wait_for(lambda: _published(stack, model_id), 60, "the import")
    return model_id


def _published(stack: Stack, model_id: str) -> bool:
    found = stack.api("GET", f"/models/{model_id}")
    assert found["model_status"] != "failed", found["failed_reason"]
    return bool(found["model_status"] == "published")


@contextmanager
def street(kinds: Sequence[Kind], folder: Path) -> Iterator[tuple[Stack, dict[Kind, str], str]]:
    """A platform with all services deployed: those that misbehave by their kind, the neighbour."""
    with ExitStack() as parts:
        env = {
            **_ENV,
            "MODELYARD_POOLS": json.dumps([{"id": "street", "cpu": 64, "memory_mb": 65_536}]),
        }
        images = None
        if any(kind.image for kind in kinds):
            podman = parts.enter_context(Podman())
            images = Images(podman)
            env["MODELYARD_CONTAINER_HOST"] = podman.socket
        stack = parts.enter_context(Stack(env=env))
        limits = stack.status()["limits"]
        if not str(limits["kind"]).startswith("cgroup"):
            console.print(f"No control groups here: {limits['warnings']}", style="red")
        services = {
            kind: create(stack, config(import_kind(kind, stack, images, folder))) for kind in kinds
        }
        neighbour = create(stack, config(import_echo(stack, folder, "neighbour", "1.0.0")))
        yield stack, services, neighbour


def window(running: LoadRun, seconds: float) -> list[Record]:
    """What was sent within the next ``seconds``, after a moment to settle."""
    time.sleep(_SETTLE_S)
    begin = time.time() * 1000
    time.sleep(seconds)
    end = time.time() * 1000
    running.wait_more(1)
    return running.records(begin, end)


def measure(options: argparse.Namespace, kinds: Sequence[Kind], folder: Path) -> dict[Kind, Seen]:
    found = {kind: Seen() for kind in kinds}
    with street(kinds, folder) as (stack, services, neighbour):
        more = {"rate": options.rate, "connections": 2, "seconds": 86_400}
        with load(stack, neighbour, folder, **more) as running:
            window(running, 1)
            for number in range(options.rounds):
                for kind in kinds:
                    found[kind].alone.append(window(running, options.seconds))
                    with misbehaving(kind, stack, services[kind]):
                        found[kind].beside.append(window(running, options.seconds))
                console.print(f"round {number + 1} of {options.rounds}", style="dim")
    return found


def ratio_of(seen: Seen) -> float:
    """Of the p99, beside to alone: the median over the rounds, each with its own alone."""
    pairs = zip(seen.alone, seen.beside, strict=True)
    return statistics.median(
        summarise(beside).p99_ms / summarise(alone).p99_ms for alone, beside in pairs
    )


def rows(found: dict[Kind, Seen]) -> Iterator[tuple[str, ...]]:
    for kind, seen in found.items():
        alone = summarise([record for part in seen.alone for record in part])
        beside = summarise([record for part in seen.beside for record in part])
        yield (
            kind.name,
            *(f"{one:.2f}" for one in (alone.p50_ms, beside.p50_ms)),
            f"{beside.p50_ms / alone.p50_ms:.2f}",
            *(f"{one:.2f}" for one in (alone.p99_ms, beside.p99_ms)),
            f"{ratio_of(seen):.2f}",
            f"{beside.sent:,}",
            str(alone.failed_count + beside.failed_count),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rate", type=float, default=300, help="predictions a second")
    parser.add_argument("--kinds", nargs="+", choices=[kind.name for kind in KINDS])
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if not options.kinds or kind.name in options.kinds]
    if why := missing():
        console.print(f"Left out, for want of a container engine: 10 MB header. {why}", style="dim")
        kinds = [kind for kind in kinds if not kind.image]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = measure(options, kinds, Path(folder))
    show_table(
        f"A neighbour's predictions, {options.rate:g} a second on {os.cpu_count()} cores, ms; "
        f"{options.rounds} rounds of {options.seconds:g} s",
        ("beside", "p50 alone", "p50", "ratio", "p99 alone", "p99", "ratio", "sent", "failed"),
        list(rows(found)),
    )
    sys.exit(any(ratio_of(seen) > MOST for seen in found.values()))


if __name__ == "__main__":
    main()
