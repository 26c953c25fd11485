"""Counting calls, and what instances use."""

from __future__ import annotations

import asyncio
import os

from modelyard.monitor.rate import CallRate
from modelyard.monitor.sampler import Reading, Source, deltas
from modelyard.monitor.shadows import ShadowMeter, ShadowReading
from modelyard.monitor.usage import UsageMeter, accounts


def test_only_what_was_added_counts() -> None:
    a, b, c = Source("s", "a"), Source("s", "b"), Source("s", "a", "next")
    before = {a: Reading(10, 1), b: Reading(5, 0)}
    now = {a: Reading(15, 1), b: Reading(5, 0), c: Reading(2, 2)}
    assert deltas(before, now) == {a: (5, 0), c: (2, 2)}


def test_a_counter_that_began_anew_counts_from_zero() -> None:
    a = Source("s", "a")
    assert deltas({a: Reading(100, 7)}, {a: Reading(3, 1)}) == {a: (3, 1)}


def test_readings_of_a_shadow_add_up() -> None:
    meter = ShadowMeter()
    assert meter.of("s", "m") == ShadowReading()
    meter.set({("s", "m"): ShadowReading(3, 1, 0, 2.5, 9.0) + ShadowReading(2, 0, 4, None, 11.0)})
    assert meter.of("s", "m") == ShadowReading(5, 1, 4, 2.5, 11.0)


def test_calls_are_forgotten_after_a_minute() -> None:
    rate = CallRate()
    rate.add("s", 5, 1_000)
    rate.add("s", 7, 50_000)
    assert rate.per_minute("s", 60_999) == 12
    assert rate.per_minute("s", 61_000) == 7
    assert rate.per_minute("s", 200_000) == 0
    assert rate.per_minute("other", 0) == 0


async def test_usage_of_a_session_is_a_rate() -> None:
    leader = os.getsid(0)
    assert accounts()[leader][1] > 0
    meter = UsageMeter()
    assert meter.of(leader).memory_mb == 0
    await meter.sample([leader])
    await asyncio.sleep(0)
    await meter.sample([leader])
    assert meter.of(leader).memory_mb > 0
    assert meter.of(leader).cpu_cores >= 0
    await meter.sample([])
    assert meter.of(leader).memory_mb == 0
