"""Who leaves, in what order, and who has to stay until others carry the load."""

from __future__ import annotations

from planner_support import (
    NOW,
    draining,
    endpoints,
    fresh,
    look,
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

from modelyard.domain.rollout.state import Instance, Kept, Step

OLD = revision(1, version("a", 2))
NEW = revision(2, version("b", 2, slot="a"))


def new(name: str, born: int = 1_000) -> Instance:
    return ready(name, "b", slot="a", born=born)


def test_nobody_leaves_a_service_that_is_as_wanted() -> None:
    assert look(settled(OLD), ready("i1"), ready("i2")).retire == ()


def test_before_the_takeover_nobody_leaves() -> None:
    found = look(updated(NEW, OLD), ready("i1"), ready("i2"), starting("i3", "b", slot="a"))
    assert found.retire == ()


def test_with_each_new_one_the_oldest_goes() -> None:
    there = (ready("i1", born=20), ready("i2", born=10), new("i3"))
    found = look(running(NEW, NEW, OLD), *there)
    assert found.retire == ("i2",)
    assert endpoints(found) == {"a": ("i1",), "b": ("i3",)}


def test_two_of_one_age_go_by_name() -> None:
    assert look(running(NEW, NEW, OLD), ready("i2"), ready("i1"), new("i3")).retire == ("i1",)


def test_who_may_be_missing_leaves_first() -> None:
    hasty = revision(2, version("b", 2, slot="a", max_unavailable=1.0))
    there = (ready("i1"), ready("i2"), new("i3"))
    assert look(running(hasty, hasty, OLD), *there).retire == ("i1", "i2")


def test_nobody_leaves_while_the_new_version_is_on_probation() -> None:
    desired = running(NEW, NEW, OLD, probation_ms=100)
    tried = ready("i3", "b", slot="a", served_at=NOW - 99)
    assert look(desired, ready("i1"), ready("i2"), tried).retire == ()
    proven = ready("i3", "b", slot="a", served_at=NOW - 100)
    assert look(desired, ready("i1"), ready("i2"), proven).retire == ("i1",)


def test_surplus_needs_no_proof() -> None:
    desired = running(NEW, NEW, OLD, probation_ms=100)
    there = [ready(f"i{n}", "b", slot="a", born=n, served_at=NOW) for n in range(3)]
    assert look(desired, *there).retire == ("i2",)


def test_what_carries_nothing_leaves_at_once() -> None:
    there = (starting("i1"), fresh("i2"), new("i3"), starting("i4", "b", slot="a"))
    assert look(running(NEW, NEW, OLD, probation_ms=10**9), *there).retire == ("i1", "i2")


def test_of_too_many_the_starting_go_first_then_the_youngest() -> None:
    fewer = settled(revision(1, version("a", 1)))
    there = (ready("i1", born=10), ready("i2", born=30), ready("i3", born=20))
    assert look(fewer, *there).retire == ("i2", "i3")
    assert look(fewer, ready("i1", born=10), starting("i4", born=5)).retire == ("i4",)


def test_of_too_many_as_many_stay_as_are_needed_ready() -> None:
    fewer = settled(revision(1, version("a", 2)))
    assert look(fewer, ready("i1"), starting("i2"), starting("i3")).retire == ("i2",)


def test_a_version_that_is_gone_leaves_with_the_takeover() -> None:
    before = revision(1, version("a", weight=50), version("b", weight=50))
    after = revision(2, version("a"))
    there = (ready("i1"), ready("i2", "b"), starting("i3", "b"), draining("i4", "b"))
    found = look(updated(after, before), *there)
    assert found.retire == ("i2", "i3")
    assert weights(found) == {"a": 100}


def test_but_not_before_the_others_can_do_without_it() -> None:
    before = revision(1, version("a", 2, 50), version("b", 1, 50))
    after = revision(2, version("a", 2))
    assert look(running(after, after, before), ready("i1"), ready("i2", "b")).retire == ()
    replaced = revision(2, version("c", 1, slot="a"))
    on_probation = running(replaced, replaced, before, probation_ms=100)
    there = (ready("i1", "c", slot="a", served_at=NOW), ready("i2", "b"))
    assert look(on_probation, *there).retire == ()
    assert look(on_probation, *there, now=NOW + 100).retire == ("i2",)


# -- an update that another one overtook ----------------------------------------------------------

THIRD = revision(3, version("c", 2, slot="a"))


def test_leftovers_without_traffic_leave_at_once() -> None:
    there = (ready("i1"), ready("i2"), starting("i3", "b", slot="a"), fresh("i4", "b", slot="a"))
    assert look(updated(THIRD, OLD), *there, draining("i5", "b", slot="a")).retire == ("i3", "i4")


def test_also_when_nothing_serves() -> None:
    assert look(running(THIRD), ready("i1", "b", slot="a")).retire == ("i1",)


def test_leftovers_of_no_slot_that_serves_leave_at_once() -> None:
    there = (ready("i1"), ready("i2"), ready("i3", "b", slot="elsewhere"))
    assert look(updated(THIRD, OLD), *there).retire == ("i3",)


def test_leftovers_that_carry_the_load_stay() -> None:
    found = look(updated(THIRD, OLD), ready("i1"), new("i3"))
    assert found.retire == ()
    assert weights(found) == {"a": 50, "b": 50}


def test_going_back_leftovers_leave_before_what_serves() -> None:
    """A version that the guard refused must not stand in for one that stood in all along."""
    third = ready("i2", "b", slot="a", born=1)
    refused = ready("i3", "c", slot="a", born=2)
    live = revision(1, version("a"))
    found = look(running(live, revision(2, version("b", slot="a")), live), third, refused)
    assert found.retire == ("i3",)
    assert weights(found) == {"a": 0, "b": 100}
    assert started(found) == ["a1"]


def test_what_the_overtaken_update_replaced_makes_room() -> None:
    desired = running(THIRD, NEW, OLD)
    full = (ready("i1"), ready("i2"), new("i3"))
    found = look(desired, *full)
    assert (started(found), found.retire) == ([], ("i1",))
    assert started(look(desired, *full[1:])) == ["c1"]


def test_but_only_when_the_overtaken_update_has_proven_itself() -> None:
    desired = running(THIRD, NEW, OLD, probation_ms=100)
    there = (ready("i1"), ready("i2"), ready("i3", "b", slot="a", served_at=NOW - 99))
    found = look(desired, *there)
    assert (found.retire, found.check_at) == ((), NOW + 1)
    assert look(desired, *there, now=NOW + 1).retire == ("i1",)


def test_what_the_serving_revision_has_too_many_of_makes_room_the_youngest_first() -> None:
    there = (new("i1", born=10), new("i2", born=30), new("i3", born=20))
    found = look(updated(THIRD, NEW), *there)
    assert (started(found), found.retire) == ([], ("i2",))


def test_what_the_target_wants_again_stays() -> None:
    again = revision(3, version("a", 2))
    found = look(running(again, NEW, OLD), ready("i1"), new("i3"), new("i4"))
    assert found.retire == ("i3",), "it has taken over: one of each is enough"
    more = revision(3, version("a", 9, slot="a"))
    assert look(running(more, NEW, OLD), ready("i1"), new("i3"), new("i4")).retire == ()


def test_what_the_target_will_keep_stays() -> None:
    keeping = revision(3, version("c", 2, slot="a"), keep_ms=1)
    there = (ready("i1"), ready("i2"), new("i3"), new("i4"))
    assert look(running(keeping, NEW, OLD), *there).retire == ()
    assert look(running(THIRD, NEW, OLD), *there).retire == ("i1", "i2")


# -- a guard -------------------------------------------------------------------------------------

FOUR = revision(1, version("a", 4))
NEXT = revision(2, version("b", 4, slot="a"))


def olds(count: int) -> tuple[Instance, ...]:
    return tuple(ready(f"old{n}", born=n) for n in range(count))


def test_a_step_that_needs_room_takes_it_from_the_oldest_whose_traffic_has_moved() -> None:
    desired = updated(NEXT, FOUR, step=Step(50, 25))
    found = look(desired, *olds(4), new("new0"))
    assert found.retire == ("old0",)
    assert found.percent == 25
    assert endpoints(found)["a"] == ("old1", "old2", "old3")


def test_a_step_with_room_takes_nobody() -> None:
    wide = revision(2, version("b", 4, slot="a", max_surge=2.0))
    found = look(updated(wide, FOUR, step=Step(50, 25)), *olds(4), new("new0"))
    assert (found.retire, started(found)) == ((), ["b1"])


def test_never_more_than_the_stable_side_can_spare() -> None:
    desired = updated(NEXT, FOUR, step=Step(50))
    assert look(desired, *olds(3), new("new0"), new("new1")).retire == ()
    large = revision(2, version("b", 8, slot="a", max_unavailable=0.5))
    four = (*olds(4), new("new0"), new("new1"), new("new2"), new("new3"))
    assert look(
        updated(large, FOUR, step=Step(90)), *four, starting("x", "b", slot="a")
    ).retire == (
        "old0",
        "old1",
        "old2",
    )


def test_never_below_what_the_service_needs() -> None:
    desired = updated(NEXT, FOUR, step=Step(50))
    waiting = starting("new0", "b", slot="a")
    assert look(desired, *olds(4), waiting).retire == ()
    hasty = revision(2, version("b", 4, slot="a", max_unavailable=1.0))
    assert look(updated(hasty, FOUR, step=Step(50)), *olds(4), waiting).retire == ()
    lean = revision(1, version("a", 4, max_unavailable=1.0))
    assert look(updated(hasty, lean, step=Step(50)), *olds(4), waiting).retire == ("old0",)


def test_what_the_target_will_keep_makes_no_room() -> None:
    keeping = revision(2, version("b", 4, slot="a", max_unavailable=3.0), keep_ms=1)
    lean = revision(1, version("a", 4, max_unavailable=3.0))
    there = (*olds(4), *(starting(f"x{n}", "b", slot="a") for n in range(5)))
    assert look(updated(keeping, lean, step=Step(50)), *there).retire == ()


def test_who_was_never_live_is_not_kept_and_makes_room() -> None:
    keeping = revision(3, version("c", 2, slot="a"), keep_ms=1)
    full = (ready("a1"), ready("a2"), new("i1"), new("i2"), fresh("i3", "c", slot="a"))
    found = look(running(keeping, NEW, OLD), *full)
    assert found.split is not None
    assert (found.split.revision, found.idle, found.retire) == (3, {"a1", "a2"}, ("i1",))


def test_a_slot_of_its_own_takes_nobody() -> None:
    after = revision(2, version("a", 4, 50), version("b", 4, 50))
    assert look(updated(after, FOUR, step=Step(50)), *olds(4)).retire == ()


# -- a version without traffic --------------------------------------------------------------------


def silent(count: int, made: str = "1", **more: float) -> tuple[Instance, ...]:
    return tuple(fresh(f"b{made}{n}", "b", made, born=n) for n in range(count))


def test_silent_instances_make_room_as_new_ones_become_ready() -> None:
    before = revision(1, version("a"), version("b", 2, 0))
    after = revision(2, version("a"), version("b", 2, 0, made="2"))
    desired = updated(after, before)
    found = look(desired, ready("i1"), *silent(2))
    assert (started(found), found.retire) == (["b2"], ())
    found = look(desired, ready("i1"), *silent(2), starting("new0", "b", "2"))
    assert (started(found), found.retire) == ([], ())
    found = look(desired, ready("i1"), *silent(2), *silent(1, "2"))
    assert (started(found), found.retire) == ([], ("b10",))
    found = look(desired, ready("i1"), *silent(2)[1:], *silent(1, "2"))
    assert (started(found), found.retire) == (["b2"], ())
    found = look(desired, ready("i1"), *silent(2)[1:], *silent(2, "2"))
    assert found.split is not None
    assert (found.split.revision, found.retire) == (2, ("b11",))


def test_they_keep_the_larger_of_both_strengths() -> None:
    before = revision(1, version("a"), version("b", 4, 0))
    after = revision(2, version("a"), version("b", 2, 0, made="2"))
    found = look(updated(after, before), ready("i1"), *silent(4), *silent(1, "2"))
    assert found.retire == ("b10",)
    grown = revision(2, version("a"), version("b", 6, 0, made="2"))
    there = (*silent(4), *silent(2, "2"), starting("new2", "b", "2"))
    assert look(updated(grown, before), ready("i1"), *there).retire == ()


def test_no_more_of_them_leave_than_new_ones_are_lacking() -> None:
    before = revision(1, version("a"), version("b", 4, 0, max_unavailable=3.0))
    after = revision(2, version("a"), version("b", 4, 0, made="2", max_unavailable=3.0))
    there = (*silent(4), starting("x", "b", "2"))
    assert look(updated(after, before), ready("i1"), *there).retire == ("b10", "b11", "b12")


def test_with_traffic_nobody_makes_room_without_a_guard() -> None:
    hasty = revision(2, version("b", 4, slot="a", max_unavailable=3.0))
    there = (*olds(4), starting("new0", "b", slot="a"))
    assert look(updated(hasty, FOUR), *there).retire == ()


# -- the former revision -------------------------------------------------------------------------


def test_kept_instances_leave_when_their_time_is_over() -> None:
    there = (ready("i2"), ready("i1"), new("i3"), new("i4"))
    over = settled(NEW, kept=Kept(OLD, NOW))
    assert look(over, *there).retire == ("i1", "i2")
    assert look(settled(NEW, kept=Kept(OLD, NOW + 1)), *there).retire == ()


def test_more_than_were_wanted_of_them_leave_before() -> None:
    there = (ready("i1"), ready("i2"), ready("i3", born=2_000), new("i4"), new("i5"))
    assert look(settled(NEW, kept=Kept(OLD, NOW + 1)), *there).retire == ("i3",)


def test_the_one_kept_before_makes_way_for_the_next() -> None:
    keeping = revision(3, version("c", 1, slot="a"), keep_ms=1)
    there = (ready("i2"), ready("i1"), new("i3"), new("i4"), ready("i5", "c", slot="a"))
    found = look(running(keeping, keeping, NEW, kept=Kept(OLD, NOW + 1)), *there)
    assert found.retire == ("i1", "i2")
    assert found.idle == {"i3", "i4"}
    over = look(running(keeping, keeping, NEW, kept=Kept(OLD, NOW)), *there)
    assert over.retire == ("i1", "i2"), "each is named once"
