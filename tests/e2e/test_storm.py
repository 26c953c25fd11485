"""Random valid updates under steady load: not one failed prediction.

``MODELYARD_STORM_UPDATES=100`` runs the long form, ``MODELYARD_STORM_SEED`` repeats a history.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from live import Json, entry, import_echo, load, service, show, update
from stack import Stack

RATE = 600
VERSIONS = 4


def updates() -> int:
    return int(os.environ.get("MODELYARD_STORM_UPDATES", "15"))


def seed() -> int:
    return int(os.environ.get("MODELYARD_STORM_SEED", str(random.SystemRandom().getrandbits(24))))


def split_100(chance: random.Random, parts: int) -> list[int]:
    """Random weights that sum to 100; zero is allowed, all on one too."""
    cuts = sorted(chance.choices(range(0, 101, 5), k=parts - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]


def next_config(chance: random.Random, current: list[Json], models: list[str]) -> list[Json]:
    """One random valid step: new weights, a version more, a version less, or another count."""
    used = {str(item["model_id"]): int(item["instance_count"]) for item in current}
    unused = [model for model in models if model not in used]
    steps = ["weights", "count"] + ["add"] * (len(used) < 3) + ["remove"] * (len(used) > 1)
    step = chance.choice(steps)
    if step == "add":
        used[chance.choice(unused)] = chance.randint(1, 2)
    elif step == "remove":
        del used[chance.choice(list(used))]
    elif step == "count":
        used[chance.choice(list(used))] = chance.randint(1, 3)
    weights = split_100(chance, len(used))
    return [entry(m, w, n) for (m, n), w in zip(used.items(), weights, strict=True)]


def test_random_updates_under_load_fail_no_prediction(stack: Stack, tmp_path: Path) -> None:
    number = seed()
    chance = random.Random(number)
    models = [import_echo(stack, tmp_path, "storm", f"{n + 1}.0.0") for n in range(VERSIONS)]
    config = [entry(models[0], 100)]
    story: list[str] = []
    with (
        service(stack, config) as service_id,
        load(stack, service_id, tmp_path, rate=RATE, connections=16) as running,
    ):
        running.wait_more(RATE)
        for _ in range(updates()):
            config = next_config(chance, config, models)
            began = time.monotonic()
            update(stack, service_id, config)
            took = time.monotonic() - began
            shape = [
                (models.index(c["model_id"]), c["weight"], c["instance_count"]) for c in config
            ]
            story.append(f"{took:.1f} s {shape} failed={running.counters['failed']}")
        running.wait_more(RATE)
        served = show(stack, service_id)
        summary = running.stop()
    told = f"MODELYARD_STORM_SEED={number}\n" + "\n".join(story)
    print(f"{summary.sent} predictions, {summary.per_second:.0f}/s, p99 {summary.p99_ms:.0f} ms")
    print(told)
    assert summary.failed == [], told
    # Requests are skipped, not failed, when the machine is too busy to make them.
    assert summary.per_second >= 0.7 * RATE, (summary.skipped, told)
    wanted = {str(c["model_id"]): (c["weight"], c["instance_count"]) for c in config}
    assert {
        c["model_id"]: (c["weight"], c["instance_count"]) for c in served["config"]
    } == wanted, told
