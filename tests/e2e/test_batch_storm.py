"""A batch service of which anything may die at any time: driver, instance, control plane (R12).

The output is byte for byte that of an undisturbed run, and so holds each input once.
``MODELYARD_BATCH_STORM`` says how many kills, ``MODELYARD_STORM_SEED`` which.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_place import Place, import_doubler
from live import delete, events, until, wait_status
from modelyard.runtime import folders
from preloaded import Preloaded
from stack import Stack

KILLS = int(os.environ.get("MODELYARD_BATCH_STORM", "8"))
SEED = int(os.environ.get("MODELYARD_STORM_SEED", "12"))
ROWS = 3_000
SMALL = 40
KILLS_OF_A_RUN = 12
LONGEST_S = 0.6


class Reaper:
    """Kills what works on a run, and starts the control plane again; all else comes by itself."""

    def __init__(self, place: Place, control: Preloaded, chance: random.Random) -> None:
        self._place, self._control, self._chance = place, control, chance
        self._task_id = ""
        self.kills: Counter[str] = Counter()

    def haunt(self, task_id: str, most: int) -> None:
        """Kill up to ``most`` times, until the run is over."""
        self._task_id = task_id
        for _ in range(most):
            moment = time.monotonic() + self._chance.uniform(0, LONGEST_S)
            until(lambda moment=moment: time.monotonic() >= moment or self._over, 10)
            if self._over:
                return
            kind = self._chance.choice(("driver", "instance", "control plane", "all"))
            if kind == "control plane" or kind == "all":
                self._control.kill()
            if kind == "driver" or kind == "all":
                self._kill(self._place.driver(task_id))
            if kind == "instance" or kind == "all":
                self._kill(self._an_instance())
            if kind == "control plane" or kind == "all":
                self._control.start()
            self.kills[kind] += 1

    @property
    def _over(self) -> bool:
        return (self._place.stack.home / "batch" / self._task_id / "result.json").exists()

    def _an_instance(self) -> int | None:
        alive = [
            state.process.pid
            for folder in folders.scan(self._place.stack.home / "run" / "instances")
            if (state := folder.state()) is not None
        ]
        return self._chance.choice(alive) if alive else None

    def _kill(self, pid: int | None) -> None:
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    # What is killed counts as failed, and a request may be lost with each of its instances.
    lenient = {
        "MODELYARD_RESTART_BUDGET": str(100 + 10 * KILLS),
        "MODELYARD_BATCH_ATTEMPTS": "20",
        "MODELYARD_DRAIN_GRACE": "5",
    }
    with Stack(env=lenient) as stack:
        yield Place(stack, import_doubler(stack, tmp_path))


def fill(place: Place) -> tuple[str, str]:
    """A large table, some of whose rows fail, and many small ones."""
    source, target = place.rows(ROWS, bad=(7, ROWS - 1))
    folder = place.stack.home / "objects" / "inbox" / source.split("/")[-2]
    for number in range(SMALL):
        (folder / f"small-{number:02}.csv").write_text(f"{number}\n{number + 1}\n")
    return source, target


def output(place: Place, target: str, task_id: str) -> dict[str, str]:
    """All that was written, without the name of the run."""
    return {
        name.replace(task_id, "RUN"): place.read(target, name).replace(task_id, "RUN")
        for name in place.written(target)
    }


@pytest.mark.timeout(180 + 12 * KILLS)
def test_a_batch_storm(place: Place) -> None:
    chance = random.Random(SEED)
    source, target = fill(place)
    service_id = place.create(place.job(source, target))
    wait_status(place.stack, service_id, "finished", 120)
    calm = output(place, target, place.run(service_id)["task_id"])
    delete(place.stack, service_id)
    assert len(calm) == SMALL + 3, "a result each, manifest and quarantine"

    with Preloaded(place.stack) as control:
        reaper = Reaper(place, control, chance)
        runs = 0
        while reaper.kills.total() < KILLS:
            runs += 1
            assert runs <= KILLS + 3, "the runs are too short to be killed"
            here = target.replace("res-", f"storm-{runs}-")
            job = place.job(source, here, 0.002, instance_count=2)
            service_id = place.create(job)
            task_id = place.run(service_id)["task_id"]
            reaper.haunt(task_id, min(KILLS_OF_A_RUN, KILLS - reaper.kills.total()))
            until(
                lambda service_id=service_id: place.run(service_id)["status"] == "finished",
                120,
                lambda service_id=service_id: str(events(place.stack, service_id)[:8]),
            )
            written = output(place, here, task_id)
            assert {name: text.replace(here, target) for name, text in written.items()} == calm
            print(f"run {runs}: {dict(reaper.kills)}", flush=True)
            delete(place.stack, service_id)
