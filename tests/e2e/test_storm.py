"""Random valid updates under load, while the control plane and now and then an instance is killed.

Not one prediction may fail but what a killed instance was computing, and everything that a client
saw must fit the history that it asked for (quality.md R1, R3). ``MODELYARD_STORM_UPDATES=1000``
runs the long form, ``MODELYARD_STORM_SEED`` repeats a sequence of updates.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from footprint import footprint
from history import History, check
from live import entry, events, import_echo, load, service, until
from loadrun import LoadRun, Record, Summary
from preloaded import Preloaded
from stack import Stack
from storm import (
    PLAIN,
    POLICIES,
    ROLLOUTS,
    Client,
    Killer,
    Wish,
    Wishes,
    answers_of,
    config_of,
    excused,
    kill_one_of_several,
    next_wishes,
    now_ms,
)

RATE = 300
CONNECTIONS = 8
VERSIONS = 4
KILL_AN_INSTANCE_EVERY = 6
LET_THROUGH = 0.4
OTHER_ROLLOUT = 0.2
"""How often an update changes how it and those behind it are rolled out."""
KEPT_S = 60
"""How long a former revision stays loaded where ``ROLLOUTS`` keeps one."""
PATIENCE_S = 20
"""How long one is waited for: a control plane that dies all the time gets on slowly."""


def updates() -> int:
    return int(os.environ.get("MODELYARD_STORM_UPDATES", "20"))


def seed() -> int:
    return int(os.environ.get("MODELYARD_STORM_SEED", str(random.SystemRandom().getrandbits(24))))


@dataclass
class Storm:
    """One run: ``kinds`` of updates, results as first seen, when instances were killed (ms)."""

    chance: random.Random
    models: list[str]
    wishes: Wishes
    kinds: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    kills_ms: list[float] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def blow(self, client: Client, count: int, running: LoadRun) -> None:
        for number in range(count):
            kind, self.wishes = next_wishes(self.chance, self.wishes, self.models)
            policy = self.chance.choice(POLICIES) if kind == "policy" else ""
            other = self.chance.random() < OTHER_ROLLOUT
            rollout = self.chance.choice(ROLLOUTS) if other else None
            put = client.put(self.wishes, policy, rollout)
            self.kinds[kind] += 1
            failed = running.counters["failed"]
            told = "" if rollout is None else f"rollout={rollout.get('rollout')}"
            self._tell(f"{number} {kind} {self._shape()} {policy} {told} failed={failed}")
            # Most are overtaken while they run; some are let through, so that all kinds are.
            if self.chance.random() < LET_THROUGH:
                result = client.wait_over(put, PATIENCE_S)
                self.results[result] += 1
                self._tell(f"{number} {result}")
                if self.results.total() % KILL_AN_INSTANCE_EVERY == 0:
                    self._kill(client)
            else:
                time.sleep(self.chance.uniform(0, 0.3))
                client.look(put.update_time)

    def _kill(self, client: Client) -> None:
        at = kill_one_of_several(client.stack, client.service_id, self.chance)
        if at is not None:
            self.kills_ms.append(at)
            self._tell("killed an instance")

    def _tell(self, line: str) -> None:
        """Printed at once: a long storm is watched with ``-s``."""
        self.story.append(line)
        print(line, flush=True)

    def _shape(self) -> list[tuple[int, int, int, str]]:
        return [(self.models.index(w.model_id), w.weight, w.count, w.level) for w in self.wishes]


@pytest.mark.timeout(300 + 10 * updates())
def test_storm(tmp_path: Path) -> None:
    number = seed()
    chance = random.Random(number)
    # Short times, so that many updates come to their end between two deaths.
    with Stack(env={"MODELYARD_DRAIN_GRACE": "5", "MODELYARD_PROBATION": "0.3"}) as stack:
        models = [import_echo(stack, tmp_path, "storm", f"{n + 1}.0.0") for n in range(VERSIONS)]
        storm = Storm(chance, models, (Wish(models[0], 100, 2),))
        with (
            Preloaded(stack) as control,
            service(stack, [wish.entry() for wish in storm.wishes]) as service_id,
        ):
            versions = {model: f"{n + 1}.0.0" for n, model in enumerate(models)}
            first = config_of([entry(models[0], 100, 2)])
            client = Client(stack, service_id, History(first, versions))
            with load(
                stack, service_id, tmp_path, rate=RATE, connections=CONNECTIONS, seconds=86_400
            ) as running:
                running.wait_more(RATE)
                began = time.monotonic()
                with Killer(control, random.Random(number)) as killer:
                    storm.blow(client, updates(), running)
                took = time.monotonic() - began
                # The last one without a guard that could refuse it, or anything that stays loaded.
                client.put(storm.wishes, rollout=PLAIN)
                rest(client, control)
                calm = time.time() * 1000
                running.wait_more(3 * RATE)
                summary = running.stop()
            records = running.records()
            client.history.answers = answers_of(records)
            told = "\n".join([f"MODELYARD_STORM_SEED={number}", *storm.story])
            report(storm, client, killer, summary, took)
            judge(storm, client, records, calm, told)
        stack.up()


def rest(client: Client, control: Preloaded) -> None:
    """Wait until the last update is over and nothing is left of those before."""
    last = [put for put in client.history.puts if put.accepted][-1]
    result = client.wait_over(last)
    assert result == "SUCCESS", (result, events(client.stack, client.service_id)[:10])
    wanted = sum(count for _, _, count in last.config)
    run = client.stack.home / "run" / "instances"

    def left() -> list[str]:
        there = {path.name for path in run.iterdir()}
        ours = {control.pid or 0, control.forker, client.stack.record("gateway").pid}
        found = footprint(client.stack.home, there, ours)
        surplus = [f"{wanted} instances wanted: {sorted(there)}"] if len(there) != wanted else []
        return surplus + found.leaks(there, found.files)

    until(lambda: left() == [], KEPT_S + 60, lambda: f"{left()}\n{on_record(client)}")
    assert client.look() is not None


def on_record(client: Client) -> str:
    """What the control plane knows of the service, and the last it said."""
    with closing(sqlite3.connect(client.stack.home / "modelyard.db")) as database:
        database.row_factory = sqlite3.Row
        told = [str(dict(row)) for row in database.execute("SELECT * FROM service")]
        living = "SELECT * FROM instance WHERE ended_at IS NULL"
        told += [str(dict(row)) for row in database.execute(living)]
    log = (client.stack.home / "logs" / "control-plane.log").read_text(errors="replace")
    return "\n".join([f"now {now_ms():.0f}", *told, *log.splitlines()[-30:]])


def judge(storm: Storm, client: Client, records: list[Record], calm: float, told: str) -> None:
    lost = [record for record in records if not record.ok]
    unexcused = [record for record in lost if not excused(record, storm.kills_ms)]
    assert unexcused == [], f"{unexcused[:5]}\n{told}"
    assert len(lost) <= CONNECTIONS * len(storm.kills_ms), f"{lost[:9]}\n{told}"
    wrong = check(client.history, finished=True)
    assert wrong == [], "\n".join([*wrong[:20], told])
    served = [record.version for record in records if record.start_ms > calm]
    for wish in storm.wishes:
        share = 100 * served.count(client.history.versions[wish.model_id]) / len(served)
        assert abs(share - wish.weight) <= 4, f"{share} % for {wish}\n{told}"


def report(storm: Storm, client: Client, killer: Killer, summary: Summary, took: float) -> None:
    puts, looks = client.history.puts, client.history.looks
    last = {log.revision: log for look in looks for log in look.logs}
    results = Counter("overtaken" if log.overtaken else log.result.lower() for log in last.values())
    accepted = sum(put.accepted for put in puts)
    print(
        f"{accepted} updates accepted in {took:.0f} s ({dict(storm.kinds)}); "
        f"{len(puts) - accepted} attempts without an answer, {len(last) - accepted} of them "
        f"accepted all the same; in the logs: {dict(results)}\n"
        f"control plane killed {killer.kills} times, instances {len(storm.kills_ms)} times\n"
        f"{summary.sent} predictions, {summary.per_second:.0f}/s, p99 {summary.p99_ms:.0f} ms, "
        f"longest {summary.max_ms:.0f} ms; {summary.failed_count} failed, "
        f"{summary.skipped} not sent because the machine was busy\n"
        f"{len(looks)} looks and {len(client.history.answers)} answers checked"
    )
