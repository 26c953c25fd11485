"""How many requests an instance is given: as many as pay, never so many that they time out."""

from __future__ import annotations

import pytest

from modelyard.batch.dispatch.concurrency_limit import ConcurrencyLimit


def serve(
    pace: ConcurrencyLimit, seconds: float, one_s: float, workers: int, most: float = 1e9
) -> list[int]:
    """An instance of ``workers``, each ``one_s`` per request, kept busy; the limits on the way."""
    now, limits = 0.0, []
    while now < seconds:
        given = pace.limit
        rate = min(given, workers) / one_s
        # Some of the time of a request passes on its way, the less noticed the more there are.
        rate = min(most, rate)
        now += given / rate
        for _ in range(given):
            pace.answered(given / rate, now, busy=True)
        limits.append(pace.limit)
    return limits


def test_it_grows_while_throughput_does() -> None:
    limits = serve(ConcurrencyLimit(64, 40), 10, 0.001, workers=16)
    assert max(limits) >= 16
    assert limits[-1] <= 32


def test_a_single_worker_keeps_its_short_queue() -> None:
    assert max(serve(ConcurrencyLimit(64, 40), 20, 0.001, workers=1)) <= 2


def test_it_never_exceeds_the_most() -> None:
    assert max(serve(ConcurrencyLimit(8, 40), 5, 0.001, workers=64)) == 8


@pytest.mark.parametrize("one_s", [12.0, 30.0])
def test_what_takes_long_gets_no_queue(one_s: float) -> None:
    """A request that waits behind another of half the time limit would time out."""
    assert set(serve(ConcurrencyLimit(64, 40), 1000, one_s, workers=4)) == {1}


def test_it_shrinks_when_refused_and_when_answers_come_late() -> None:
    pace = ConcurrencyLimit(64, 40, limit=32)
    pace.refused(1.0)
    assert pace.limit == 16
    pace.answered(11.0, 12.0, busy=True)
    assert pace.limit == 8


def test_it_tries_again_when_the_instance_became_faster() -> None:
    pace = ConcurrencyLimit(64, 40)
    serve(pace, 5, 0.001, workers=1)
    assert max(serve(pace, 60, 0.001, workers=8)) >= 8
