"""How often the guard is wrong, measured on seeded traffic that it looks at every second."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import log

import pytest

from modelyard.domain.canary.analysis import Decision, Verdict, judge
from modelyard.domain.canary.request_counts import BOUNDS_MS, Tally, bucket
from modelyard.domain.canary.sequential_test import Count, evidence
from modelyard.domain.service.rollout_policy import Guard

Latency = Callable[[random.Random], float]
GUARD = Guard(steps=(5, 25, 50), hold_s=30, min_samples=100)


def skewed(scale: float = 1.0) -> Latency:
    return lambda chance: scale * chance.lognormvariate(2.5, 1.0)


def two_humps(scale: float = 1.0) -> Latency:
    """Most are answered from a cache, the others are computed, a few wait very long."""

    def draw(chance: random.Random) -> float:
        kind = chance.random()
        mean = 2.0 if kind < 0.7 else 90.0 if kind < 0.98 else 3_000.0
        return scale * chance.gauss(mean, mean / 10)

    return draw


def steady(ms: float) -> Latency:
    return lambda chance: chance.gauss(ms, ms / 20)


STEADY = steady(10.0)


@dataclass(frozen=True)
class Version:
    error_rate: float = 0.0
    latency: Latency = STEADY

    def answer(self, chance: random.Random, count: int) -> Tally:
        errors, latencies = 0, [0] * (len(BOUNDS_MS) + 1)
        for _ in range(count):
            errors += chance.random() < self.error_rate
            latencies[bucket(self.latency(chance))] += 1
        return Tally(count, errors, latencies=tuple(latencies))


def watch(
    seed: int, stable: Version, candidate: Version, *, seconds: int, each: tuple[int, int]
) -> tuple[Verdict, int]:
    """Look every second at ``each`` more predictions; the last judgement and the candidate's
    predictions until then. Stops when it goes back.
    """
    chance = random.Random(seed)
    there = here = Tally()
    for second in range(1, seconds + 1):
        there = there + stable.answer(chance, each[0])
        here = here + candidate.answer(chance, each[1])
        found = judge(there, here, GUARD, second * 1_000, share=0.05)
        if found.decision is Decision.ROLL_BACK:
            break
    return found, here.requests


@pytest.mark.parametrize(
    ("rate", "allowance"), [(0.001, 0.01), (0.001, 0.0), (0.05, 0.01), (0.4, 0.05)]
)
def test_at_the_very_limit_evidence_is_as_rare_as_promised(rate: float, allowance: float) -> None:
    """The hardest case that is still allowed, looked at after every prediction."""
    level, runs = 0.1, 120
    alarms = 0
    for seed in range(runs):
        chance = random.Random(seed)
        stable = candidate = 0
        for n in range(1, 301):
            stable += chance.random() < rate
            candidate += chance.random() < rate + allowance
            if evidence(Count(stable, n), Count(candidate, n), allowance) >= log(1 / level):
                alarms += 1
                break
    assert alarms <= level * runs


@pytest.mark.parametrize("latency", [skewed(), two_humps()], ids=["skewed", "two humps"])
def test_equal_versions_are_not_refused(latency: Latency) -> None:
    """Expected alarms at the promised rate: 0.02 in 60 steps."""
    version = Version(0.01, latency)
    found = [watch(seed, version, version, seconds=40, each=(95, 5))[0] for seed in range(60)]
    assert [f.reason for f in found if f.decision is Decision.ROLL_BACK] == []


def test_errors_that_come_and_go_on_both_sides_are_not_refused() -> None:
    refused = 0
    for seed in range(30):
        chance = random.Random(seed)
        there = here = Tally()
        for second in range(60):
            version = Version(0.3 if second % 20 > 14 else 0.0)
            there = there + version.answer(chance, 50)
            here = here + version.answer(chance, 10)
            found = judge(there, here, GUARD, second * 1_000)
            refused += found.decision is Decision.ROLL_BACK
    assert refused == 0


@pytest.mark.parametrize("latency", ["steady", "skewed"])
def test_a_fifth_slower_is_not_refused(latency: str) -> None:
    stable, candidate = (
        (steady(10.0), steady(12.0)) if latency == "steady" else (skewed(), skewed(1.2))
    )
    for seed in range(20):
        found, _ = watch(seed, Version(0, stable), Version(0, candidate), seconds=40, each=(60, 20))
        assert found.decision is not Decision.ROLL_BACK, found.reason


def test_five_per_cent_of_errors_are_found_in_a_thousand_predictions() -> None:
    needed = []
    for seed in range(40):
        found, samples = watch(seed, Version(), Version(0.05), seconds=200, each=(95, 5))
        assert found.decision is Decision.ROLL_BACK, found.reason
        assert "errors against 0.0 %" in found.reason
        needed.append(samples)
    assert sorted(needed)[20] <= 350
    assert max(needed) <= 1_000


@pytest.mark.parametrize("make", [skewed, two_humps, lambda scale=1.0: steady(10.0 * scale)])
def test_three_times_slower_is_found_in_five_hundred_predictions(
    make: Callable[[float], Latency],
) -> None:
    for seed in range(20):
        found, samples = watch(
            seed, Version(0, make(1.0)), Version(0, make(3.0)), seconds=100, each=(95, 5)
        )
        assert found.decision is Decision.ROLL_BACK, found.reason
        assert "takes longer than" in found.reason
        assert samples <= 500
