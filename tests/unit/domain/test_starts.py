"""What is started: by surge, by the steps of a guard, and again after failures."""

from __future__ import annotations

import pytest
from planner_support import (
    NOW,
    draining,
    failure,
    fresh,
    look,
    planning,
    ready,
    revision,
    running,
    settled,
    started,
    starting,
    updated,
    version,
    weights,
)

from modelyard.domain.rollout.scale_up import (
    Start,
    holding_revision,
    in_strength,
    missing,
    stable_count,
    wanted_count,
)
from modelyard.domain.rollout.state import Instance, Kept, Step
from modelyard_instance.backoff import jitter_at


def olds(count: int, **more: str) -> tuple[Instance, ...]:
    return tuple(ready(f"old{n}", **more) for n in range(count))


def test_a_creation_starts_all_at_once() -> None:
    target = revision(1, version("a", 2), version("b", 1))
    assert look(running(target)).starts == (
        Start(1, "a", "a", "a1"),
        Start(1, "a", "a", "a1"),
        Start(1, "b", "b", "b1"),
    )


def test_what_starts_and_what_is_ready_is_not_started_again() -> None:
    target = revision(1, version("a", 3))
    assert started(look(running(target), fresh("i1"), starting("i2"), draining("i3"))) == ["a1"]


def test_more_than_enough_starts_nothing() -> None:
    assert started(look(settled(revision(1, version("a", 1))), *olds(3))) == []


# -- replacing ----------------------------------------------------------------------------------

OLD = revision(1, version("a", 3))
NEW = revision(2, version("b", 3, slot="a"))


@pytest.mark.parametrize(
    ("max_surge", "count"), [(1.0, 1), (2.0, 2), (0.5, 2), (5.0, 3), (0.34, 2)]
)
def test_new_instances_come_up_by_surge(max_surge: float, count: int) -> None:
    new = revision(2, version("b", 3, slot="a", max_surge=max_surge))
    assert started(look(updated(new, OLD), *olds(3))) == ["b1"] * count


def test_the_larger_count_and_surge_of_both_bound_it() -> None:
    more = revision(2, version("b", 5, slot="a"))
    assert started(look(updated(more, OLD), *olds(3))) == ["b1"] * 3
    fewer = revision(2, version("b", 2, slot="a"))
    assert started(look(updated(fewer, OLD), *olds(3))) == ["b1"]
    swift = revision(1, version("a", 3, max_surge=2.0))
    assert started(look(updated(NEW, swift), *olds(3))) == ["b1"] * 2


def test_a_full_slot_waits_until_somebody_left() -> None:
    there = (*olds(3), starting("new", "b", slot="a"))
    assert started(look(updated(NEW, OLD), *there)) == []
    overfull = (*olds(4), starting("new", "b", slot="a"))
    assert started(look(updated(NEW, OLD), *overfull)) == []


def test_after_taking_over_the_next_comes_with_each_that_leaves() -> None:
    there = (*olds(2), ready("new0", "b", slot="a"), draining("gone"))
    assert started(look(running(NEW, NEW, OLD), *there)) == ["b1"]
    full = (*olds(3), ready("new0", "b", slot="a"))
    assert started(look(running(NEW, NEW, OLD), *full)) == []


def test_a_slot_of_its_own_has_no_need_of_surge() -> None:
    after = revision(2, version("a", 3, 50), version("b", 3, 50))
    assert started(look(updated(after, OLD), *olds(3))) == ["b1"] * 3


def test_more_of_the_same_needs_no_surge_either() -> None:
    assert started(look(updated(revision(2, version("a", 6)), OLD), *olds(3))) == ["a1"] * 3


def test_who_keeps_the_former_revision_starts_the_new_one_beside_it() -> None:
    keeping = revision(2, version("b", 3, slot="a"), keep_ms=1)
    assert started(look(updated(keeping, OLD), *olds(3))) == ["b1"] * 3


def test_kept_instances_take_no_room() -> None:
    kept = Kept(revision(0, version("z", 2, slot="a")), NOW + 1)
    there = (*olds(3), ready("z0", "z", slot="a"), ready("z1", "z", slot="a"))
    assert started(look(updated(NEW, OLD, kept=kept), *there)) == ["b1"]


def test_who_serves_in_another_slot_takes_no_room() -> None:
    """An overtaken update may have given the place of one model to another."""
    before = revision(1, version("a", 1, 50, slot="first"), version("b", 4, 50, slot="second"))
    after = revision(3, version("b", 4, made="2", slot="first"))
    there = (ready("i0", "a", slot="first"), *olds(4, model="b", slot="second"))
    assert started(look(updated(after, before), *there)) == ["b2"] * 4


def test_but_new_ones_do_wherever_they_were_started() -> None:
    after = revision(2, version("b", 1, slot="a"), version("c", 1))
    there = (ready("i0"), starting("i1", "b", slot="x"))
    assert started(look(updated(after, revision(1, version("a"))), *there)) == ["c1"]


# -- what serves keeps its strength -------------------------------------------------------------


def test_a_dead_instance_of_what_serves_is_replaced_during_a_rollout() -> None:
    found = look(updated(NEW, OLD), *olds(2), starting("new0", "b", slot="a"))
    assert found.starts == (Start(1, "a", "a", "a1"),)


def test_it_comes_before_new_ones() -> None:
    assert started(look(updated(NEW, OLD), *olds(2))) == ["b1", "a1"]
    assert started(look(updated(NEW, OLD), *olds(1))) == ["b1", "a1", "a1"]


def test_what_both_revisions_have_is_kept_up_by_the_target() -> None:
    before = revision(1, version("a", 2, 50), version("b", 2, 50))
    after = revision(2, version("a", 1, 50), version("c", 2, 50, slot="b"))
    found = look(updated(after, before), ready("i1"), *olds(2, model="b"))
    assert found.starts == (Start(2, "a", "a", "a1"), Start(2, "c", "b", "c1"))


def test_a_version_that_leaves_without_a_successor_keeps_its_strength_till_then() -> None:
    before = revision(1, version("a", 2, 50), version("b", 2, 50))
    after = revision(2, version("a", 3))
    found = look(updated(after, before), *olds(2), ready("b0", "b"))
    assert found.starts == (Start(2, "a", "a", "a1"), Start(1, "b", "b", "b1"))


def test_what_was_never_live_is_not_kept_up_for_the_next() -> None:
    """Its forerunners may still stand by; and it may be what the update wants to be rid of."""
    live = revision(0, version("z", 3, slot="a"))
    there = (ready("z0", "z", slot="a"), ready("z1", "z", slot="a"))
    assert started(look(running(NEW, OLD, live), *there)) == ["b1", "b1"]


def test_proven_leftovers_stand_in_for_what_serves() -> None:
    there = (*olds(2), ready("left", "z", slot="a"), starting("new0", "b", slot="a"))
    assert started(look(updated(NEW, OLD), *there)) == []
    untried = (*olds(2), fresh("left", "z", slot="a"), starting("new0", "b", slot="a"))
    assert started(look(updated(NEW, OLD), *untried)) == []


def test_what_the_target_has_in_the_slot_takes_room_wherever_it_was_started() -> None:
    before = revision(1, version("a", 2))
    target = revision(2, version("b", weight=0, slot="a"), version("c"))
    moved = starting("i3", "b", slot="b")
    assert started(look(updated(target, before), ready("i1"), moved)) == ["c1", "a1"]
    two = (moved, starting("i4", "b", slot="b"))
    assert started(look(updated(target, before), ready("i1"), *two)) == ["c1"]


def test_but_where_nobody_is_left_to_serve_one_starts_at_once() -> None:
    before = revision(1, version("a"))
    target = revision(2, version("b", weight=0, slot="a"), version("c"))
    two = (starting("i3", "b", slot="b"), starting("i4", "b", slot="b"))
    assert started(look(updated(target, before), *two)) == ["c1", "a1"]
    silent = revision(1, version("a", weight=0))
    assert started(look(updated(target, silent), *two)) == ["c1"]


def test_strength_is_held_until_the_target_takes_over() -> None:
    ours = planning(updated(NEW, OLD), *olds(3))
    assert holding_revision(ours) == OLD
    over = planning(updated(NEW, OLD), *olds(3), fresh("new0", "b", slot="a"))
    assert holding_revision(over) is None
    assert holding_revision(planning(running(OLD))) is None


# -- a guard -------------------------------------------------------------------------------------


FOUR = revision(1, version("a", 4))
NEXT = revision(2, version("b", 4, slot="a"))


@pytest.mark.parametrize(
    ("percent", "new", "stable"), [(5, 1, 4), (25, 1, 3), (26, 2, 3), (50, 2, 2), (99, 4, 1)]
)
def test_each_step_wants_its_part_of_both(percent: int, new: int, stable: int) -> None:
    ours = planning(updated(NEXT, FOUR, step=Step(percent)), *olds(4))
    assert wanted_count(ours, NEXT.versions[0]) == new
    assert stable_count(ours, FOUR.versions[0]) == stable


def test_without_a_guard_all_are_wanted() -> None:
    ours = planning(updated(NEXT, FOUR), *olds(4))
    assert wanted_count(ours, NEXT.versions[0]) == 4
    assert stable_count(ours, FOUR.versions[0]) == 4


def test_what_is_not_compared_stays_whole() -> None:
    before = revision(1, version("a", 4, 40), version("b", 4, 60), version("c", 4, 0))
    after = revision(2, version("a", 4, 40), version("x", 4, 60, slot="b"))
    ours = planning(updated(after, before, step=Step(50)))
    assert wanted_count(ours, after.versions[0]) == 4
    assert wanted_count(ours, after.versions[1]) == 2
    assert stable_count(ours, before.versions[0]) == 4
    assert stable_count(ours, before.versions[1]) == 2
    assert stable_count(ours, before.versions[2]) == 4, "nobody follows it"


def test_a_step_starts_what_it_needs_and_no_more() -> None:
    there = olds(4)
    assert started(look(updated(NEXT, FOUR, step=Step(5)), *there)) == ["b1"]
    wide = revision(2, version("b", 4, slot="a", max_surge=4.0))
    assert started(look(updated(wide, FOUR, step=Step(50)), *there)) == ["b1"] * 2
    some = (*there, ready("new0", "b", slot="a"))
    assert started(look(updated(NEXT, FOUR, step=Step(5)), *some)) == []


def test_at_a_step_the_stable_side_is_kept_up_as_far_as_it_is_wanted() -> None:
    there = (*olds(1), ready("new0", "b", slot="a"), ready("new1", "b", slot="a"))
    assert started(look(updated(NEXT, FOUR, step=Step(50, since=NOW)), *there)) == ["a1"]
    enough = (*olds(2), *there[1:])
    assert started(look(updated(NEXT, FOUR, step=Step(50, since=NOW)), *enough)) == []


def test_a_step_is_in_strength_when_its_part_is_ready() -> None:
    desired = updated(NEXT, FOUR, step=Step(50))
    one, two = fresh("new0", "b", slot="a"), fresh("new1", "b", slot="a")
    assert not in_strength(planning(desired, *olds(4), one, starting("new1", "b", slot="a")))
    assert in_strength(planning(desired, *olds(4), one, two))
    assert not in_strength(planning(running(NEXT), one, two))


def test_room_is_what_is_lacking_but_has_no_place() -> None:
    desired = updated(NEXT, FOUR, step=Step(50))
    there = (*olds(4), ready("new0", "b", slot="a"))
    [new, stable] = missing(planning(desired, *there))
    assert (new.revision, new.count, new.room) == (2, 0, 1)
    assert (stable.revision, stable.count, stable.room) == (1, 0, 0)


# -- trying again --------------------------------------------------------------------------------


def wait_after(moment: int) -> int:
    """The wait after a second failure, at ``moment``."""
    return round(500 * (1 - jitter_at(moment) / 2))


def test_a_version_that_failed_waits_for_its_turn() -> None:
    desired = settled(revision(1, version("a", 2, 50), version("b", 2, 50)))
    failed = (failure("a1", NOW - 100), failure("a1", NOW - 100))
    found = look(desired, failures=failed)
    assert started(found) == ["b1", "b1"]
    waiting = look(desired, *olds(2, model="b"), failures=failed)
    assert started(waiting) == []
    assert waiting.check_at == NOW - 100 + wait_after(NOW - 100)


def test_when_its_time_has_come_it_starts() -> None:
    desired = settled(revision(1, version("a")))
    at = NOW - 100
    failed = (failure("a1", at), failure("a1", at))
    then = at + wait_after(at)
    assert started(look(desired, failures=failed, now=then)) == ["a1"]
    assert look(desired, failures=failed, now=then - 1).check_at == then


def test_the_nearest_of_several_waits_counts() -> None:
    desired = settled(revision(1, version("a", 1, 50), version("b", 1, 50)))
    failed = tuple(failure(made, NOW) for made in ("a1", "a1", "b1", "b1", "b1"))
    assert look(desired, failures=failed).check_at == NOW + wait_after(NOW)


def test_who_lacks_nothing_waits_for_nothing() -> None:
    failed = (failure("a1", NOW), failure("a1", NOW))
    found = look(settled(revision(1, version("a"))), ready("i1"), failures=failed)
    assert found.check_at is None


def test_a_first_step_wider_than_the_surge_is_reached() -> None:
    """Each ready instance takes its part of the step, and so lets one of the old ones go."""
    desired = updated(NEXT, FOUR, step=Step(50))
    found = look(desired, *olds(4), fresh("new0", "b", slot="a"))
    assert found.percent == 25
    assert (weights(found), found.retire) == ({"a": 75, "b": 25}, ())
    found = look(desired, *olds(4), ready("new0", "b", slot="a"))
    assert (started(found), found.retire) == ([], ("old0",))
    found = look(desired, *olds(4)[1:], ready("new0", "b", slot="a"))
    assert started(found) == ["b1"]
    found = look(desired, *olds(4)[1:], *(ready(f"new{n}", "b", slot="a") for n in range(2)))
    assert found.percent == 50
