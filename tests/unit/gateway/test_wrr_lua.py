from __future__ import annotations

from collections import Counter
from math import gcd

from hypothesis import given
from hypothesis import strategies as st

from modelyard.gateway.config.routing.wrr_lua import lua_program, program_clusters, smooth_order

weights = st.lists(st.integers(1, 100), min_size=1, max_size=6)


@given(weights)
def test_a_period_is_exact(given_weights: list[int]) -> None:
    order = smooth_order(given_weights)
    divisor = gcd(*given_weights)
    assert Counter(order) == {i: weight // divisor for i, weight in enumerate(given_weights)}


@given(weights)
def test_any_stretch_is_nearly_exact(given_weights: list[int]) -> None:
    order = smooth_order(given_weights)
    total = sum(given_weights)
    seen: Counter[int] = Counter()
    for count, index in enumerate(order, 1):
        seen[index] += 1
        for at, weight in enumerate(given_weights):
            assert abs(seen[at] - count * weight / total) < len(given_weights)


def test_seventy_twenty_ten() -> None:
    assert smooth_order([70, 20, 10]) == [0, 0, 1, 0, 0, 2, 0, 0, 1, 0]


def test_the_program_names_its_clusters() -> None:
    program = lua_program([("s/a", 70), ("s/b", 30)])
    assert program_clusters(program) == ["s/a", "s/b"]
