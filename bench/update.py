"""How long an update takes, kind by kind, and what it costs the control plane.

    python bench/update.py [--services 1 100 1000] [--updates 6] [--kinds weights kept …]

Each kind in turn changes one service that is under load; all other services share one instance
(``standins.py``), but have a route, a cluster and an endpoint of their own in Envoy.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import standins
from drive import console, show_table
from prober import Answer, Prober

from live import BODY, create, entry, get, import_echo, path, put, until
from stack import Stack

KINDS = ("weights", "+1 instance", "new version", "kept revision")
VERSIONS = ("1.0.0", "2.0.0", "3.0.0", "4.0.0", "5.0.0")
_LIMIT_S = 60.0
_POLL_S = 0.002
_IDLE_S = 3.0

Config = list[dict[str, object]]
Wanted = Callable[[Answer], bool]


class StandInStack(Stack):
    """The platform in a box, with the control plane of ``standins``."""

    def up(self) -> None:
        log = self.home / "bench-control-plane.log"
        standins.start(self.address, self.environment, log)


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds from just before the PUT was sent; ``cpu``: the control plane's."""

    answered: float
    in_force: float
    succeeded: float
    cpu: float


@dataclass
class Found:
    """What one number of services came to. ``idle``: CPU ms a second without updates."""

    timings: dict[str, list[Timing]] = field(default_factory=dict)
    failed: int = 0
    idle: float = 0.0
    filled: float = 0.0


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


def cpu_ms(pid: int) -> float:
    """CPU that all threads of a process have used so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


@dataclass
class Bench:
    """One service under load, updated in all kinds of ways."""

    stack: Stack
    models: list[str]
    service_id: str
    prober: Prober

    def rounds(self, kinds: list[str], updates: int) -> Iterator[tuple[str, Timing]]:
        """Each kind in turn, ``updates`` times; the first round only warms up."""
        steps = {
            "weights": self._weights,
            "+1 instance": self._one_more,
            "new version": self._new_version,
            "kept revision": self._kept,
        }
        for number in range(updates + 1):
            for kind in kinds:
                for timing in steps[kind]():
                    if number:
                        yield kind, timing

    def _weights(self) -> Iterator[Timing]:
        for _ in range(5):
            yield self._update(self._config(0, (0, 100)), _by("2.0.0"))
            yield self._update(self._config(0, (100, 0)), _by("1.0.0"))

    def _one_more(self) -> Iterator[Timing]:
        known = set(self.prober.instances)
        yield self._update(self._config(0, count=2), lambda a: a.instance not in {*known, ""})
        self._update(self._config(0), _by("1.0.0"))

    def _new_version(self) -> Iterator[Timing]:
        yield self._update(self._config(2), _by("3.0.0"))
        yield self._update(self._config(0), _by("1.0.0"))

    def _kept(self) -> Iterator[Timing]:
        # Models of their own: what is kept would also make a "new version" come at once.
        self._update(self._config(3), _by("4.0.0"))
        self._update(self._config(4), _by("5.0.0"), keep=True)
        for _ in range(3):
            yield self._update(self._config(3), _by("4.0.0"), keep=True)
            yield self._update(self._config(4), _by("5.0.0"), keep=True)
        self._update(self._config(0), _by("1.0.0"))

    def _config(self, model: int, weights: tuple[int, int] = (100, 0), count: int = 1) -> Config:
        first, second = weights
        return [entry(self.models[model], first, count), entry(self.models[1], second)]

    def _update(self, config: Config, wanted: Wanted, *, keep: bool = False) -> Timing:
        """One update, awaited to its end."""
        rollout = {"rollout": {"keep_former_minutes": 10}} if keep else {}
        pid = self.stack.record("control-plane").pid
        self.prober.watch_for(wanted)
        spent, clock, began = cpu_ms(pid), time.time() * 1000, time.perf_counter()
        answer = put(
            self.stack, self.service_id, {"config": config, "additional_properties": rollout}
        )
        answered = time.perf_counter()
        assert answer.status_code == 200, answer.text
        first = self.prober.first(_LIMIT_S)
        closed = self._closed_at(int(answer.json()["update_time"]))
        spent = cpu_ms(pid) - spent
        took = 1000 * (answered - began)
        return Timing(took, 1000 * (first.at - began), closed - clock, spent)

    def _closed_at(self, update_time: int) -> int:
        """When the update succeeded (ms), from the database: asking the API would cost CPU."""
        deadline = time.monotonic() + _LIMIT_S
        query = "SELECT result, closed_at, reason FROM update_log WHERE update_time = ?"
        with closing(sqlite3.connect(self.stack.home / "modelyard.db")) as database:
            while True:
                result, closed_at, reason = database.execute(query, (update_time,)).fetchone()
                if result == "SUCCESS":
                    return int(closed_at)
                assert result == "RUNNING" and time.monotonic() < deadline, (result, reason)
                time.sleep(_POLL_S)


def _by(version: str) -> Wanted:
    return lambda answer: answer.version == version


def measure(services: int, updates: int, kinds: list[str], folder: Path) -> Found:
    found = Found(timings={kind: [] for kind in kinds})
    with StandInStack(env={"MODELYARD_DRAIN_GRACE": "5"}) as stack:
        models = [import_echo(stack, folder, "echo", version) for version in VERSIONS]
        found.filled = fill(stack, models[0], services - 1)
        service_id = create(stack, [entry(models[0], 100), entry(models[1], 0)])
        token = str(stack.client.headers["X-Auth-Token"])
        with Prober(stack.port, f"/v1/infers/{service_id}", token, BODY) as prober:
            prober.wait_more(100)
            found.idle = _idle(stack)
            bench = Bench(stack, models, service_id, prober)
            for kind, timing in bench.rounds(kinds, updates):
                found.timings[kind].append(timing)
            found.failed = prober.failed
    return found


def _idle(stack: Stack) -> float:
    pid = stack.record("control-plane").pid
    before, began = cpu_ms(pid), time.perf_counter()
    time.sleep(_IDLE_S)
    return (cpu_ms(pid) - before) / (time.perf_counter() - began)


def rows(services: int, found: Found) -> Iterator[tuple[str, ...]]:
    for kind, timings in found.timings.items():
        net = [t.cpu - found.idle * t.succeeded / 1000 for t in timings]
        yield (
            kind,
            f"{services:,}",
            str(len(timings)),
            _both([t.answered for t in timings]),
            _both([t.in_force for t in timings]),
            _both([t.in_force - t.answered for t in timings]),
            _both([t.succeeded for t in timings]),
            f"{statistics.median(net):.0f}",
        )


def _both(values: list[float]) -> str:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{statistics.median(ordered):.1f} / {p99:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--updates", type=int, default=6, help="rounds of all kinds")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    shown: list[tuple[str, ...]] = []
    told = []
    for services in options.services:
        console.print(f"{services:,} services …", style="dim")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            found = measure(services, options.updates, options.kinds, Path(folder))
        shown += rows(services, found)
        told.append(
            f"{services:,} services: defined in {found.filled:.0f} s, "
            f"{found.idle:.1f} ms CPU a second at rest, {found.failed} failed predictions"
        )
    shown.sort(key=lambda row: KINDS.index(row[0]))
    show_table(
        "PUT under load until …, milliseconds, median / p99, and CPU of the control plane",
        (
            "kind",
            "services",
            "updates",
            "answer",
            "first prediction",
            "answer to it",
            "log says SUCCESS",
            "CPU ms",
        ),
        shown,
    )
    for line in told:
        console.print(line)


if __name__ == "__main__":
    main()
