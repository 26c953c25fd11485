"""Thousands of updates of one service on the real stack: does anything grow? (quality.md R11)

    python bench/soak.py [--updates 10000] [--count-every 100]

All updates change weights; every hundredth adds an instance or takes one away, too. Each is waited
for. The tables show the updates since the mark before, and what the processes held at the mark.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from drive import console, show_table

from live import entry, import_echo, load, put, service, update_log
from loadrun import LoadRun
from stack import Stack, wait_for

MARKS = (0.1, 0.5, 1.0)
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds: resident memory in MiB, open file descriptors, threads."""

    rss: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Held:
        root = Path(f"/proc/{pid}")
        return cls(
            rss=int((root / "statm").read_text().split()[1]) * _PAGE / 2**20,
            descriptors=sum(1 for _ in (root / "fd").iterdir()),
            threads=sum(1 for _ in (root / "task").iterdir()),
        )

    def __str__(self) -> str:
        return f"{self.rss:.0f} MiB, {self.descriptors} fds, {self.threads} threads"


@dataclass(frozen=True, slots=True)
class Mark:
    """After ``updates``: milliseconds of those since the mark before, and what is held now."""

    updates: int
    answered: list[float]
    in_force: list[float]
    control_plane: Held
    gateway: Held
    database_mib: float
    failed: int


def at(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def database_mib(home: Path) -> float:
    """Without the write-ahead log, which SQLite keeps at a few MiB."""
    return (home / "modelyard.db").stat().st_size / 2**20


def soak(
    stack: Stack, models: list[str], updates: int, count_every: int, running: LoadRun, name: str
) -> list[Mark]:
    """Send ``updates``, one after the other; gives what was found at each mark."""
    marks = {max(1, round(updates * share)) for share in MARKS}
    found: list[Mark] = []
    answered: list[float] = []
    in_force: list[float] = []
    for number in range(1, updates + 1):
        weight = number % 101
        count = 1 + (number // count_every) % 2
        config = [entry(models[0], weight, count), entry(models[1], 100 - weight)]
        began = time.perf_counter()
        answer = put(stack, name, {"config": config})
        answered.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, answer.text
        wait_closed(stack, name, int(answer.json()["update_time"]))
        in_force.append((time.perf_counter() - began) * 1000)
        if number in marks:
            found.append(
                Mark(
                    number,
                    answered,
                    in_force,
                    Held.of(stack.record("control-plane").pid),
                    Held.of(stack.record("gateway").pid),
                    database_mib(stack.home),
                    running.counters["failed"],
                )
            )
            console.print(f"{number:,} updates", style="dim")
            answered, in_force = [], []
    return found


def wait_closed(stack: Stack, service_id: str, update_time: int) -> None:
    """Wait for SUCCESS of one update, asking for that log only."""
    url = f"/services/{service_id}/logs"

    def done() -> bool:
        [log] = stack.api("GET", url, update_time=update_time)["logs"]
        assert log["result"] != "FAIL", log
        return bool(log["result"] == "SUCCESS")

    wait_for(done, 60, "the update")


def measure(updates: int, count_every: int, folder: Path) -> list[Mark]:
    with Stack(env={"MODELYARD_DRAIN_GRACE": "5"}) as stack:
        models = [import_echo(stack, folder, "soak", f"{n}.0.0") for n in (1, 2)]
        start = [entry(models[0], 100), entry(models[1], 0)]
        with (
            service(stack, start) as service_id,
            load(stack, service_id, folder, rate=50, connections=2, seconds=86_400) as running,
        ):
            marks = soak(stack, models, updates, count_every, running, service_id)
            assert update_log(stack, service_id)["result"] == "SUCCESS"
            assert running.stop().failed == []
    return marks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=10_000)
    parser.add_argument("--count-every", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        marks = measure(options.updates, options.count_every, Path(folder))
    show_table(
        "PUT until …, milliseconds, of the updates since the mark before",
        ("updates", "answer p50", "answer p99", "SUCCESS p50", "SUCCESS p99", "lost predictions"),
        [
            (
                f"{mark.updates:,}",
                f"{statistics.median(mark.answered):.1f}",
                f"{at(mark.answered, 0.99):.1f}",
                f"{statistics.median(mark.in_force):.1f}",
                f"{at(mark.in_force, 0.99):.1f}",
                str(mark.failed),
            )
            for mark in marks
        ],
    )
    show_table(
        "held after that many updates",
        ("updates", "control plane", "Envoy", "database MiB"),
        [
            (
                f"{mark.updates:,}",
                str(mark.control_plane),
                str(mark.gateway),
                f"{mark.database_mib:.2f}",
            )
            for mark in marks
        ],
    )
    first, last = marks[0], marks[-1]
    if last.updates > first.updates:
        grown = (last.database_mib - first.database_mib) * 2**20
        each = grown / (last.updates - first.updates)
        console.print(f"The database grew by {each:,.0f} bytes an update.")


if __name__ == "__main__":
    main()
