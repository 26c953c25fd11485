"""The peak of a change, and whether a pool has room for it (resources.md §4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.domain.preview.peak_demand import Peak, exceeding, peak_needs, steady_needs, too_much
from modelyard.domain.service.config import CustomSpec, VersionConfig
from modelyard.domain.service.pools import Generation, PoolRef
from modelyard.domain.service.resources import Limits, Resources
from modelyard.domain.service.slots import assign_slots

A, B = PoolRef("a", Generation.V2), PoolRef("b", Generation.V2)


def one(
    model: str = "m", count: int = 1, cpu: float = 1, pool: PoolRef | None = A, surge: float = 1
) -> VersionConfig:
    return VersionConfig(
        model_id=model,
        specification="custom",
        instance_count=count,
        weight=100,
        custom_spec=CustomSpec(cpu, 1000, gpu_p4=0.1),
        max_surge=surge,
        slot=model,
        pool=pool,
    )


def cpu(
    before: list[VersionConfig], after: list[VersionConfig], *, keep_former: bool = False
) -> dict[str, float]:
    needs = peak_needs(before, assign_slots(before, after), keep_former=keep_former)
    return {str(pool.id if pool else ""): need.cpu for pool, need in needs.items()}


def test_at_first_the_peak_is_the_end() -> None:
    assert cpu([], [one(count=3)]) == {"a": 3}
    assert cpu([], [one(count=3), one("n", pool=None)]) == {"a": 3, "": 1}


def test_a_changed_count_only_adds_or_removes() -> None:
    assert cpu([one(count=2)], [one(count=5)]) == {"a": 5}
    assert cpu([one(count=5)], [one(count=2)]) == {"a": 5}


@pytest.mark.parametrize(
    ("old", "new", "surge", "peak"),
    [
        (1, 1, 1, 2),
        (3, 3, 1, 4),
        (3, 3, 2, 5),
        (4, 4, 0.5, 6),
        (4, 4, 0.1, 5),
        (2, 5, 1, 6),
        (5, 2, 1, 6),
        (2, 2, 9, 4),  # All of both is the most there can be.
    ],
)
def test_what_is_replaced_needs_surge(old: int, new: int, surge: float, peak: float) -> None:
    after = [one(count=new, surge=surge)]
    assert cpu([replace(one(count=old), envs={"A": "1"})], after) == {"a": peak}
    # A new model in the slot of one that leaves is replaced in the same way.
    assert cpu([one("former", count=old)], after) == {"a": peak}


def test_the_larger_ones_count_in_the_mixture() -> None:
    # Three of two cores and one of one core, whichever way it goes.
    small, large = [one(count=3)], [one(count=3, cpu=2)]
    assert cpu(small, large) == cpu(large, small) == {"a": 7}


def test_a_former_revision_that_is_kept_counts_in_full() -> None:
    assert cpu([one("former", count=3)], [one(count=3)], keep_former=True) == {"a": 6}
    # What stays as it is, is there once.
    assert cpu([one(count=3)], [one(count=3)], keep_former=True) == {"a": 3}


def test_moving_to_another_pool_takes_both() -> None:
    assert cpu([one(count=3)], [one(count=3, pool=B)]) == {"a": 3, "b": 3}


def test_a_version_that_ends_stays_to_the_end() -> None:
    assert cpu([one("x"), one("y", count=2)], [one("x")]) == {"a": 3}


def test_fractions_add_up() -> None:
    needs = steady_needs([one(count=3), one("n", count=4)])
    assert needs[A] == Resources(7, 7000, 0.7, 0)


def test_only_limited_pools_that_give_more_are_judged() -> None:
    held, more = {A: Resources(1), None: Resources(1)}, {A: Resources(2), None: Resources(2)}
    limits = {A: Limits(4), None: Limits()}
    assert exceeding(more, held, limits) == {A}
    assert exceeding(held, held, limits) == set()
    assert exceeding({B: Resources(1)}, {}, limits) == {B}, "a pool that has vanished"


def test_the_refusal_names_pool_lack_and_remedy() -> None:
    peak = Peak(A, Resources(4, 4000), Resources(3, 3000), Resources(5), Limits(8, 9000, 0, 0))
    assert peak.free == Limits(3, 9000, 0, 0)
    assert not peak.fits
    problem = too_much(peak)
    assert problem is not None
    assert problem.code == "3976"
    assert "pool 'a' lacks 1 CPU cores" in problem.reason
    assert "max_surge" in problem.remedy
    never = too_much(replace(peak, after=Resources(4, 4000)))
    assert never is not None and "enlarge" in never.remedy
    assert too_much(replace(peak, others=Resources())) is None
    assert too_much(replace(peak, limits=Limits())) is None


versions = st.builds(
    one,
    model=st.sampled_from("xyz"),
    count=st.integers(1, 5),
    cpu=st.sampled_from([0.25, 1, 2.5]),
    pool=st.sampled_from([None, A, B]),
    surge=st.sampled_from([0.3, 1, 2, 5]),
)
configs = st.lists(versions, max_size=3, unique_by=lambda version: version.model_id)


@given(before=configs, after=configs)
def test_the_peak_holds_both_ends_and_no_more_than_all(
    before: list[VersionConfig], after: list[VersionConfig]
) -> None:
    slotted = assign_slots(before, after)
    peak = peak_needs(before, slotted)
    kept = peak_needs(before, slotted, keep_former=True)
    old, new = steady_needs(before), steady_needs(slotted)
    for pool in {*old, *new}:
        first, last = old.get(pool, Resources()), new.get(pool, Resources())
        assert first.within(peak[pool])
        assert last.within(peak[pool])
        assert peak[pool].within(kept[pool])
        assert kept[pool].within(first + last)
