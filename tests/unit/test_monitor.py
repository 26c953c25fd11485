"""Counting calls, and what instances use."""

from __future__ import annotations

import asyncio
import os

from modelyard.monitor.rate import CallRate
from modelyard.monitor.sampler import Reading, deltas
from modelyard.monitor.usage import UsageMeter, accounts


def test_only_what_was_added_counts() -> None:
    before = {"s/a": Reading(10, 1), "s/b": Reading(5, 0)}
    now = {"s/a": Reading(15, 1), "s/b": Reading(5, 0), "s/c": Reading(2, 2)}
    assert deltas(before, now) == {"s/a": (5, 0), "s/c": (2, 2)}


def test_a_counter_that_began_anew_counts_from_zero() -> None:
    assert deltas({"s/a": Reading(100, 7)}, {"s/a": Reading(3, 1)}) == {"s/a": (3, 1)}


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
