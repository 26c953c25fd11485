"""The one formula of pauses between attempts."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_instance import backoff
from modelyard_instance.backoff import delay, jitter_at


def test_the_examples_of_the_docstring_hold() -> None:
    found = doctest.testmod(backoff)
    assert found.attempted >= 2
    assert found.failed == 0


@given(st.integers(1, 10**6), st.floats(0.001, 10), st.floats(10, 1000), st.floats(0, 1))
def test_a_pause_lies_between_half_and_all_of_what_it_is_without_jitter(
    attempt: int, base: float, ceiling: float, jitter: float
) -> None:
    whole = delay(attempt, base, ceiling)
    assert whole / 2 <= delay(attempt, base, ceiling, jitter) <= whole <= ceiling
    assert delay(attempt + 1, base, ceiling) >= whole


@given(st.integers(0, 10**13), st.integers(1, 50))
def test_jitter_spreads_what_fails_within_milliseconds(moment: int, apart: int) -> None:
    one, other = jitter_at(moment), jitter_at(moment + apart)
    assert 0 <= one < 1
    assert abs(one - other) > 0.004
    assert jitter_at(moment) == one


@pytest.mark.parametrize("attempt", [0, -1])
def test_what_is_no_retry_does_not_wait(attempt: int) -> None:
    assert delay(attempt, 1.0, 10.0, 0.5) == 0.0
