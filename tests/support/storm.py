"""The parts of a storm: random valid updates, who sends and records them, who kills meanwhile."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field, replace

import httpx

from history import Answer, Config, History, Log, Look, Put
from live import Json, entry, path
from loadrun import Record
from modelyard.processes import identify
from modelyard.runtime import folders
from preloaded import Preloaded
from stack import Stack

MAX_VERSIONS = 3
MAX_COUNT = 3
POLICIES = ("ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP")
PLAIN: Json = {}
ROLLOUTS: tuple[Json, ...] = (
    PLAIN,
    PLAIN,
    {"rollout": {"keep_former_minutes": 1}},
    # Only errors may refuse a step: latencies tell of the busy machine.
    {"rollout": {"steps": [34], "hold_seconds": 1, "min_samples": 1, "max_latency_ratio": 100}},
)
"""The service's ``additional_properties``; they stay until the next update that names some."""
RETRY_S = 0.02


def now_ms() -> float:
    return time.time() * 1000


# -- random updates ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """One version of a wanted configuration."""

    model_id: str
    weight: int
    count: int
    level: str = ""
    surge: float = 1.0
    unavailable: float = 0.0
    shadow: int = 0

    def entry(self) -> Json:
        rolling: Json = {"max_surge": self.surge, "max_unavailable": self.unavailable}
        if self.shadow and not self.weight:
            rolling["shadow"] = self.shadow
        envs = {"LEVEL": self.level} if self.level else {}
        return entry(
            self.model_id, self.weight, self.count, envs=envs, additional_properties=rolling
        )


Wishes = tuple[Wish, ...]


def split_100(chance: random.Random, parts: int) -> list[int]:
    """Random weights that sum to 100; zero is allowed, all on one too."""
    cuts = sorted(chance.choices(range(0, 101, 5), k=parts - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]


def next_wishes(chance: random.Random, current: Wishes, models: list[str]) -> tuple[str, Wishes]:
    """One random valid step from ``current``, and its name."""
    unused = [model for model in models if model not in {wish.model_id for wish in current}]
    steps = ["count", "count", "envs", "rolling", "policy", "shadow"]
    steps += ["weights"] * 2 * (len(current) > 1)
    steps += ["replace"] * 2 * bool(unused)
    steps += ["add"] * 2 * (bool(unused) and len(current) < MAX_VERSIONS)
    steps += ["remove"] * (len(current) > 1)
    step = chance.choice(steps)
    at = chance.randrange(len(current))
    wishes = list(current)
    if step == "add":
        wishes.append(Wish(chance.choice(unused), 0, chance.randint(1, 2)))
    elif step == "remove":
        del wishes[at]
    else:
        wishes[at] = _changed(chance, step, wishes[at], unused)
    if step in ("weights", "add", "remove"):
        weights = split_100(chance, len(wishes))
        wishes = [replace(w, weight=weight) for w, weight in zip(wishes, weights, strict=True)]
    return step, tuple(wishes)


def _changed(chance: random.Random, step: str, wish: Wish, unused: list[str]) -> Wish:
    if step == "count":
        return replace(wish, count=chance.randint(1, MAX_COUNT))
    if step == "envs":
        return replace(wish, level=chance.choice(("", "a", "b")))
    if step == "rolling":
        surge, unavailable = chance.choice((0.5, 1.0, 2.0)), chance.choice((0.0, 0.5))
        return replace(wish, surge=surge, unavailable=unavailable)
    if step == "shadow":
        return replace(wish, shadow=chance.choice((0, 30)))
    if step == "replace":
        return replace(wish, model_id=chance.choice(unused))
    return wish


def config_of(items: list[Json]) -> Config:
    return tuple((str(i["model_id"]), int(i["weight"]), int(i["instance_count"])) for i in items)


# -- who sends and records ---------------------------------------------------------------------


@dataclass
class Client:
    """Updates one service and records what it sees; a dead control plane is asked again."""

    stack: Stack
    service_id: str
    history: History

    def put(self, wishes: Wishes, policy: str = "", rollout: Json | None = None) -> Put:
        """Send until it is accepted; every attempt goes into the history.

        ``rollout``: ``additional_properties`` of the service; None leaves what is there.
        """
        body: Json = {"config": [wish.entry() for wish in wishes]}
        if rollout is not None:
            body["additional_properties"] = rollout
        if policy:
            body["load_balancer_policy"] = policy
        wanted = config_of(body["config"])
        deadline = time.monotonic() + 120
        while True:
            sent, answer = now_ms(), self._ask("PUT", "", json=body)
            status = answer.status_code if answer is not None else 0
            said = answer.json() if answer is not None and status == 200 else {}
            put = Put(sent, wanted, status, int(said.get("update_time", 0)))
            self.history.puts.append(put)
            if put.accepted:
                return put
            assert put.unanswered, f"refused: {answer.text if answer is not None else ''}"
            assert time.monotonic() < deadline, "no update is accepted any more"
            time.sleep(RETRY_S)

    def look(self, update_time: int = 0) -> Look | None:
        """Ask for logs (one of them, or all), then for the service; None when nobody answers."""
        query = {"update_time": update_time} if update_time else {}
        logs = self._ask("GET", "logs", params=query)
        logged = now_ms()
        service = self._ask("GET", "")
        if logs is None or service is None or (logs.status_code, service.status_code) != (200, 200):
            return None
        shown = service.json()
        look = Look(
            logged=logged,
            shown=now_ms(),
            logs=tuple(_log(item) for item in logs.json()["logs"]),
            config=config_of(shown["config"]),
            live=int(shown["revision"]["live"] or 0),
            whole=not update_time,
        )
        self.history.looks.append(look)
        return look

    def wait_over(self, put: Put, timeout: float = 90) -> str:
        """Wait until the update has its result; gives that, RUNNING after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            look = self.look(put.update_time)
            result = look.logs[0].result if look and look.logs else "RUNNING"
            if result != "RUNNING" or time.monotonic() > deadline:
                return result
            time.sleep(RETRY_S)

    def _ask(self, method: str, rest: str, **more: object) -> httpx.Response | None:
        url = path(self.stack, self.service_id, rest)
        try:
            return self.stack.client.request(method, url, **more)  # type: ignore[arg-type]
        except httpx.TransportError:
            return None


def _log(item: Json) -> Log:
    return Log(
        update_time=int(item["update_time"]),
        revision=int(item["revision"]),
        result=str(item["result"]),
        config=config_of(item["config"]),
        overtaken="later update" in str(item.get("reason", "")),
    )


def answers_of(records: list[Record]) -> list[Answer]:
    return [
        Answer(r.start_ms, r.ended_ms, r.version, int(r.revision or 0)) for r in records if r.ok
    ]


# -- who kills ---------------------------------------------------------------------------------


@dataclass
class Killer:
    """Kills the control plane 0 to ``longest_s`` seconds after it answers, and starts it again.

    A context manager: at its end the control plane is up and stays so.
    """

    control: Preloaded
    chance: random.Random
    longest_s: float = 0.5
    kills: int = 0
    error: BaseException | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Killer:
        self._thread = threading.Thread(target=self._run, name="killer")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        assert self._thread is not None
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self.chance.uniform(0, self.longest_s)):
                self.control.kill()
                self.kills += 1
                self.control.start()
        except BaseException as error:
            self.error = error


def kill_one_of_several(stack: Stack, service_id: str, chance: random.Random) -> float | None:
    """Kill a ready instance of a version that has another one; gives when (ms)."""
    serving = _serving(stack, service_id)
    ready: dict[str, list[int]] = {}
    for folder in folders.scan(stack.home / "run" / "instances"):
        state = folder.state()
        if folder.instance_id in serving and state and state.phase == "ready":
            ready.setdefault(folder.model_id, []).append(state.process.pid)
    several = [pids for pids in ready.values() if len(pids) > 1]
    if not several:
        return None
    victim = chance.choice(chance.choice(several))
    at = now_ms()
    if identify(victim) is None:
        return None
    os.kill(victim, signal.SIGKILL)
    return at


def _serving(stack: Stack, service_id: str) -> set[str]:
    """Ids of the instances that carry traffic by the record; others may be on their way out."""
    query = (
        "SELECT id FROM instance WHERE service_id = ? AND ended_at IS NULL "
        "AND stage = 'ready' AND served_at IS NOT NULL"
    )
    with closing(sqlite3.connect(stack.home / "modelyard.db")) as database:
        return {row[0] for row in database.execute(query, (service_id,))}


def excused(record: Record, kills_ms: list[float], margin_ms: float = 100) -> bool:
    """Whether a killed instance may have been computing it."""
    return any(
        record.start_ms <= at + margin_ms and record.ended_ms >= at - margin_ms for at in kills_ms
    )
