"""How long an update takes: from PUT (weights only) to the first prediction by the new weights.

    python bench/update.py [--services 10 1000] [--updates 40]

Services but the measured one share one instance (``standins.py``); each has a route, a cluster and
an endpoint of its own in Envoy.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import standins
from drive import console, show_table

from live import create, entry, get, import_echo, load, path, put, until, wait_update
from loadrun import LoadRun
from stack import Stack

_LIMIT_S = 30.0


class StandInStack(Stack):
    """The platform in a box, with the control plane of ``standins``."""

    def up(self) -> None:
        log = self.home / "bench-control-plane.log"
        standins.start(self.address, self.environment, log)


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds from just before the PUT was sent."""

    answered: float
    in_force: float
    reported: float


def fill(stack: Stack, model_id: str, count: int) -> float:
    """Define ``count`` services with stand-in instances; gives the seconds until all run."""
    began = time.monotonic()

    def one(number: int) -> None:
        body = {
            "service_name": f"filler-{number}",
            "infer_type": "real-time",
            "config": [entry(model_id, 100, envs={standins.MARK: "1"})],
        }
        answer = stack.client.post(path(stack), json=body)
        assert answer.status_code == 200, answer.text

    if count:
        # The first one is real and has to be there before others can lean on it.
        one(0)
        until(lambda: _running(stack) >= 1, 60)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(1, count)))
    until(lambda: _running(stack) >= count, 900, lambda: f"{_running(stack)} of {count} run")
    return time.monotonic() - began


def _running(stack: Stack) -> int:
    query = {"status": "running", "service_name": "filler-", "limit": 1}
    return int(get(stack, path(stack), **query)["total_count"])


def one_update(
    stack: Stack, service_id: str, running: LoadRun, config: list[dict[str, object]], version: str
) -> Timing:
    """Send one update and find when ``version`` first answered."""
    sent = time.time() * 1000
    answer = put(stack, service_id, {"config": config})
    answered = time.time() * 1000
    assert answer.status_code == 200, answer.text
    assert wait_update(stack, service_id)["result"] == "SUCCESS"
    reported = time.time() * 1000

    def first() -> float | None:
        ends = (r.ended_ms for r in running.records(sent) if r.version == version)
        return min(ends, default=None)

    in_force = float(until(first, _LIMIT_S))
    return Timing(answered - sent, in_force - sent, reported - sent)


def measure(services: int, updates: int, folder: Path) -> tuple[list[Timing], float, int]:
    """The timings, the seconds it took to define the services, and the failed predictions."""
    with StandInStack() as stack:
        models = [import_echo(stack, folder, "echo", f"{n}.0.0") for n in (1, 2)]
        filled = fill(stack, models[0], services - 1)
        first, second = models
        service_id = create(stack, [entry(first, 100), entry(second, 0)])
        timings = []
        with load(stack, service_id, folder, rate=0, connections=1) as running:
            running.wait_more(200)
            # The first two only warm up.
            for number in range(-2, updates):
                forth = number % 2 == 0
                weights = (0, 100) if forth else (100, 0)
                config = [entry(m, w) for m, w in zip(models, weights, strict=True)]
                version = "2.0.0" if forth else "1.0.0"
                timings.append(one_update(stack, service_id, running, config, version))
            summary = running.stop()
    return timings[2:], filled, summary.failed_count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--updates", type=int, default=40)
    options = parser.parse_args()
    rows = []
    for services in options.services:
        console.print(f"{services} services …", style="dim")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            timings, filled, failed = measure(services, options.updates, Path(folder))
        in_force = sorted(t.in_force for t in timings)
        rows.append(
            (
                f"{services:,}",
                f"{statistics.median(t.answered for t in timings):.1f}",
                f"{statistics.median(in_force):.1f}",
                f"{in_force[int(len(in_force) * 0.9)]:.1f}",
                f"{in_force[-1]:.1f}",
                f"{statistics.median(t.reported for t in timings):.1f}",
                str(failed),
                f"{filled:.0f}",
            )
        )
    show_table(
        f"PUT (weights only) until …, milliseconds, {options.updates} updates under load",
        (
            "services",
            "answer",
            "first prediction",
            "9 of 10 within",
            "slowest",
            "log says SUCCESS",
            "failed",
            "defined in s",
        ),
        rows,
    )


if __name__ == "__main__":
    main()
