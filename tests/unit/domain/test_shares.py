"""Who gets how much: weights over ready instances, and two revisions side by side."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from planner_support import (
    draining,
    fresh,
    ready,
    revision,
    seen,
    starting,
    version,
)

from modelyard.domain.rollout.state import Instance, RevisionTarget
from modelyard.domain.rollout.traffic_split import (
    Share,
    Split,
    blend,
    served_since,
    split_of,
    variant_of,
    whole_percents,
)


def percents(**weights: Fraction | int) -> dict[str, int]:
    keyed = {(model, ""): Fraction(weight) for model, weight in weights.items()}
    return {model: weight for (model, _), weight in whole_percents(keyed).items()}


def weights_of(split: Split | None) -> dict[str, int]:
    assert split is not None
    return {
        f"{s.model_id}/{s.variant}" if s.variant else s.model_id: s.weight for s in split.shares
    }


def spread(target: RevisionTarget, *instances: Instance) -> Split:
    found = split_of(target, seen(*instances))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ({"a": 60, "b": 40}, {"a": 60, "b": 40}),
        ({"a": Fraction(200, 3), "b": Fraction(100, 3)}, {"a": 67, "b": 33}),
        ({x: Fraction(100, 3) for x in "abc"}, {"a": 33, "b": 33, "c": 34}),
        ({"a": Fraction(999, 10), "b": Fraction(1, 10)}, {"a": 99, "b": 1}),
        ({"a": 100, "b": 0}, {"a": 100, "b": 0}),
        ({"a": 0, "b": 0}, {"a": 0, "b": 0}),
        # What three are rounded up by is taken from the largest, of two equals from the later.
        (
            {"a": Fraction(99, 2), "b": Fraction(99, 2), **{x: Fraction(1, 3) for x in "xyz"}},
            {"a": 49, "b": 48, "x": 1, "y": 1, "z": 1},
        ),
    ],
)
def test_weights_become_whole_and_sum_to_100(
    given: dict[str, Fraction | int], whole: dict[str, int]
) -> None:
    assert percents(**given) == whole


def test_nothing_serves_without_a_revision() -> None:
    assert split_of(None, seen(ready("i1"))) is None


def test_each_version_gets_its_weight_over_its_ready_instances() -> None:
    now = revision(3, version("a", 2, weight=70), version("b", weight=30))
    found = spread(now, ready("i2"), ready("i1"), ready("i3", "b"), starting("i4"), draining("i5"))
    assert found == Split(3, (Share("a", 70, ("i1", "i2")), Share("b", 30, ("i3",))))
    assert found.carries("i3")
    assert not found.carries("i4")


def test_a_version_without_instances_keeps_its_weight() -> None:
    assert spread(revision(1, version("a"))) == Split(1, (Share("a", 100, ()),))


def test_a_slot_shares_its_weight_by_numbers_while_one_model_replaces_another() -> None:
    now = revision(2, version("b", 3, slot="a"))
    found = spread(now, ready("i1"), ready("i2"), fresh("i3", "b", slot="a"))
    assert weights_of(found) == {"a": 67, "b": 33}
    assert [s.endpoints for s in found.shares] == [("i3",), ("i1", "i2")]


def test_until_the_new_model_is_there_the_old_one_has_it_all() -> None:
    now = revision(2, version("b", slot="a"))
    assert weights_of(spread(now, ready("i1"))) == {"b": 0, "a": 100}


def test_the_shares_of_one_model_in_two_slots_are_one() -> None:
    now = revision(2, version("b", weight=50, slot="first"), version("c", weight=50, slot="second"))
    olds = ready("i1", "a", slot="first"), ready("i2", "a", slot="second")
    found = spread(now, *olds)
    assert weights_of(found) == {"b": 0, "a": 100, "c": 0}


def test_shadow_is_told_with_the_share() -> None:
    now = revision(1, version("a"), version("b", weight=0, shadow=20))
    shares = spread(now, ready("i1"), ready("i2", "b")).shares
    assert [(s.model_id, s.weight, s.shadow) for s in shares] == [("a", 100, 0), ("b", 0, 20)]


def test_who_leaves_gets_nothing() -> None:
    found = split_of(revision(1, version("a")), seen(ready("i1"), ready("i2")), leaving=("i2",))
    assert found == Split(1, (Share("a", 100, ("i1",)),))


def test_idle_instances_are_known_with_weight_0() -> None:
    now = revision(2, version("b", slot="a"))
    there = seen(ready("i1"), fresh("i2", "b", slot="a"))
    found = split_of(now, there, idle=("i1",))
    assert found == Split(2, (Share("b", 100, ("i2",)), Share("a", 0, ("i1",))))
    gone = split_of(now, there, leaving=("i1",), idle=("i1",))
    assert gone == Split(2, (Share("b", 100, ("i2",)),))


def test_idle_instances_of_a_model_that_serves_are_kept_apart() -> None:
    now = revision(2, version("a", made="2"))
    found = split_of(now, seen(ready("i1"), fresh("i2", made="2")), idle=("i1",))
    assert found == Split(2, (Share("a", 100, ("i2",)), Share("a", 0, ("i1",), variant="a1")))


def test_idle_instances_never_share_with_a_leftover_of_their_model() -> None:
    """The leftover carries its slot's traffic; both are of a model that the revision has not."""
    now = revision(3, version("b", slot="first"))
    leftover = ready("i1", "a", "2", slot="first")
    found = split_of(now, seen(leftover, ready("i2", "a", "1", slot="second")), idle=("i2",))
    assert weights_of(found) == {"b": 0, "a": 100, "a/a1": 0}


# -- two revisions side by side ------------------------------------------------------------------


OLD = revision(1, version("a", 2))


def test_a_blend_gives_the_new_version_its_percentage() -> None:
    new = revision(2, version("b", 2, slot="a", shadow=5))
    there = seen(ready("i1"), ready("i2"), fresh("i3", "b", slot="a"))
    assert blend(OLD, new, there, 10) == Split(
        1, (Share("a", 90, ("i1", "i2")), Share("b", 10, ("i3",), revision=2, shadow=5))
    )


def test_what_is_made_otherwise_is_compared_as_a_variant() -> None:
    new = revision(2, version("a", 2, made="2"))
    there = seen(ready("i1"), fresh("i2", made="2"))
    assert blend(OLD, new, there, 25) == Split(
        1, (Share("a", 75, ("i1",)), Share("a", 25, ("i2",), variant="a2", revision=2))
    )
    assert variant_of(new.versions[0], OLD) == "a2"
    assert variant_of(OLD.versions[0], OLD) == ""
    assert variant_of(version("b"), OLD) == ""


def test_what_both_revisions_have_gets_both_shares_on_the_same_instances() -> None:
    before = revision(1, version("a", weight=80), version("b", weight=20))
    after = revision(2, version("a", weight=40), version("c", weight=60, slot="b"))
    there = seen(ready("i1"), ready("i2", "b"), fresh("i3", "c", slot="b"))
    found = blend(before, after, there, 50)
    assert weights_of(found) == {"a": 60, "b": 10, "c": 30}
    assert [s.revision for s in found.shares] == [None, None, 2]
    assert [s.endpoints for s in found.shares] == [("i1",), ("i2",), ("i3",)]


def test_the_new_side_never_answers_for_the_old_one() -> None:
    """Also where the new instances stand in the same slot and have carried traffic before."""
    new = revision(2, version("b", slot="a"))
    there = seen(ready("i1"), ready("i2", "b", slot="a"))
    assert [s.endpoints for s in blend(OLD, new, there, 50).shares] == [("i1",), ("i2",)]


def test_other_proven_instances_of_a_slot_stand_by_the_old_side() -> None:
    new = revision(2, version("b", slot="a"))
    there = seen(ready("i1"), ready("i2", "x", slot="a"), fresh("i3", "b", slot="a"))
    assert weights_of(blend(OLD, new, there, 20)) == {"a": 40, "x": 40, "b": 20}


def test_a_blend_leaves_out_who_leaves() -> None:
    new = revision(2, version("b", slot="a"))
    there = seen(ready("i1"), ready("i2"), fresh("i3", "b", slot="a"), fresh("i4", "b", slot="a"))
    found = blend(OLD, new, there, 50, leaving=("i2", "i4"))
    assert [s.endpoints for s in found.shares] == [("i1",), ("i3",)]


def test_a_new_version_that_is_not_ready_takes_its_share_with_it() -> None:
    """The planner begins a step only in strength; a new instance may die within it."""
    new = revision(2, version("b", slot="a"))
    found = blend(OLD, new, seen(ready("i1"), starting("i2", "b", slot="a")), 50)
    assert [(s.weight, s.endpoints) for s in found.shares] == [(50, ("i1",)), (50, ())]


# -- who carries traffic -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "before", "after"),
    [(5, None, 9), (5, 3, 3), (5, 0, 0), (0, 3, None), (0, None, None)],
)
def test_who_carries_traffic_by_a_split_and_since_when(
    weight: int, before: int | None, after: int | None
) -> None:
    split = Split(1, (Share("a", weight, ("i1",)), Share("b", 100 - weight, ("i2",))))
    one = ready("i1", served_at=before)
    assert served_since(one, split, reserve=(), now=9) == after


def test_who_is_in_reserve_keeps_what_it_has_shown() -> None:
    split = Split(1, (Share("a", 0, ("i1",)), Share("b", 100, ("i2",))))
    assert served_since(ready("i1", served_at=3), split, reserve={"i1"}, now=9) == 3
    assert served_since(ready("i1", served_at=None), split, reserve={"i1"}, now=9) is None


def test_who_was_down_carries_no_more_until_the_gateway_is_told() -> None:
    split = Split(1, (Share("b", 100, ("i2",)),))
    assert served_since(replace(starting("i1"), served_at=3), split, reserve=(), now=9) is None
    assert served_since(ready("i1", served_at=3), split, reserve=(), now=9) is None


def test_who_carries_traffic_stays_so_while_nothing_is_told_to_the_gateway() -> None:
    assert served_since(ready("i1", served_at=3), None, reserve=(), now=9) == 3
