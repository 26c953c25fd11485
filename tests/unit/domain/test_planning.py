"""One plan after another: what a look at a service leads to as a whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_support import (
    NOW,
    draining,
    endpoints,
    failure,
    fresh,
    look,
    ready,
    revision,
    running,
    seen,
    settled,
    started,
    starting,
    updated,
    version,
    weights,
)

from modelyard.domain.rollout.planner import (
    DRAIN_POLL_MS,
    GUARD_POLL_MS,
    POLL_MS,
    Kill,
    Plan,
    Verdict,
    present_split,
)
from modelyard.domain.rollout.state import Desired, DesiredStatus, Kept, Step
from modelyard.domain.rollout.traffic_split import split_of

OLD = revision(1, version("a", 2))
NEW = revision(2, version("b", 2, slot="a"))
SOON = NOW + POLL_MS


def new(name: str, served_at: int = 1_000) -> object:
    return ready(name, "b", slot="a", served_at=served_at)


# -- a creation, and what is as wanted -----------------------------------------------------------


def test_a_creation_serves_nothing_until_it_is_ready() -> None:
    found = look(running(OLD))
    assert (started(found), found.split, found.retire) == (["a1", "a1"], None, ())
    assert (found.verdict, found.check_at) == (Verdict.PROGRESSING, SOON)


def test_a_creation_serves_and_is_live_when_all_are_ready() -> None:
    found = look(running(OLD), fresh("i1"), fresh("i2"))
    assert (weights(found), endpoints(found)) == ({"a": 100}, {"a": ("i1", "i2")})
    assert found.verdict is Verdict.LIVE


def test_a_service_that_is_as_wanted_is_left_in_peace() -> None:
    found = look(settled(OLD), ready("i1"), ready("i2"))
    assert found == Plan(split=split_of(OLD, seen(ready("i1"), ready("i2"))), verdict=Verdict.LIVE)


def test_a_service_that_lacks_an_instance_serves_with_the_rest() -> None:
    found = look(settled(OLD), ready("i1"), starting("i2"))
    assert endpoints(found) == {"a": ("i1",)}
    assert (found.verdict, found.check_at) == (Verdict.PROGRESSING, SOON)


def test_too_few_or_too_many_or_others_are_not_what_is_wanted() -> None:
    assert look(settled(OLD), ready("i1")).verdict is Verdict.PROGRESSING
    two = revision(2, version("a", 1, 50), version("b", 1, 50))
    assert look(settled(two), ready("i1"), ready("i2")).verdict is Verdict.PROGRESSING
    assert look(settled(two), ready("i1"), ready("i2", "b")).verdict is Verdict.LIVE
    other = look(settled(two), ready("i1"), ready("i2", "b", "2"))
    assert (other.verdict, started(other)) == (Verdict.PROGRESSING, ["b1"])


def test_who_leaves_or_drains_does_not_keep_it_from_being_live() -> None:
    there = (ready("i1"), ready("i2"), ready("i3", born=2_000), draining("i4"))
    found = look(settled(OLD), *there)
    assert (found.retire, found.verdict) == (("i3",), Verdict.LIVE)


def test_an_update_is_not_live_on_probation() -> None:
    desired = running(NEW, NEW, OLD, probation_ms=100)
    found = look(desired, new("i1", NOW - 30), new("i2", NOW - 20))
    assert (found.verdict, found.check_at) == (Verdict.PROGRESSING, NOW + 70)
    assert look(desired, new("i1", NOW - 100), new("i2")).verdict is Verdict.LIVE


# -- when to look again --------------------------------------------------------------------------


def test_drains_are_looked_at_now_and_then() -> None:
    found = look(settled(OLD), ready("i1"), ready("i2"), draining("i3"))
    assert found.check_at == NOW + DRAIN_POLL_MS


def test_who_gets_its_first_traffic_is_looked_at_again() -> None:
    """It may take somebody's place from then on."""
    found = look(settled(OLD), ready("i1"), fresh("i2"))
    assert (found.verdict, found.check_at) == (Verdict.LIVE, SOON)
    silent = settled(revision(1, version("a"), version("b", weight=0)))
    assert look(silent, ready("i1"), fresh("i2", "b")).check_at is None


def test_who_leaves_is_looked_at_again() -> None:
    assert look(settled(OLD), *(ready(f"i{n}") for n in range(3))).check_at == SOON


def test_a_guard_looks_at_the_counts_every_second() -> None:
    desired = updated(NEW, OLD, step=Step(5, since=NOW))
    found = look(desired, ready("i1"), ready("i2"), new("i3"))
    assert (found.check_at, found.percent) == (NOW + GUARD_POLL_MS, 5)


def test_kept_instances_are_looked_at_when_their_time_is_over() -> None:
    desired = settled(NEW, kept=Kept(OLD, NOW + 5_000))
    there = (new("i3"), new("i4"))
    assert look(desired, ready("i1"), *there).check_at == NOW + 5_000
    assert look(desired, *there).check_at is None
    draining_first = look(desired, ready("i1"), *there, draining("i5"))
    assert draining_first.check_at == NOW + min(DRAIN_POLL_MS, 5_000)


# -- stopping ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [DesiredStatus.STOPPED, DesiredStatus.DELETED])
def test_a_service_that_ends_lets_all_go_at_once(wanted: DesiredStatus) -> None:
    desired = replace(settled(OLD), wanted=wanted)
    found = look(desired, ready("i1"), starting("i2"), draining("i3"))
    assert found == Plan(retire=("i1", "i2"), check_at=SOON)
    assert look(desired, draining("i3")) == Plan(check_at=NOW + DRAIN_POLL_MS)
    assert look(desired) == Plan(verdict=Verdict.ENDED)


def test_what_was_given_up_ends_too() -> None:
    desired = settled(OLD, given_up=True)
    assert look(desired, ready("i1")) == Plan(retire=("i1",), check_at=SOON)
    assert look(desired) == Plan(verdict=Verdict.ENDED)


def test_drains_are_bounded_also_then() -> None:
    late = draining("i1", since=NOW - 62_001)
    found = look(replace(settled(OLD), wanted=DesiredStatus.STOPPED), late)
    assert found.kills == (Kill("i1", "still busy after 60 s", failed=False),)


# -- who has had his time ------------------------------------------------------------------------


def test_a_drain_gets_its_grace_and_two_seconds() -> None:
    just = draining("i3", since=NOW - 62_000)
    there = (ready("i1"), ready("i2"))
    assert look(settled(OLD), *there, just).kills == ()
    late = replace(just, since=NOW - 62_001)
    assert look(settled(OLD), *there, late).kills == (Kill("i3", "still busy after 60 s", False),)
    patient = replace(late, grace_ms=90_000)
    assert look(settled(OLD), *there, patient).kills == ()
    hasty = replace(late, grace_ms=1_999)
    assert look(settled(OLD), *there, hasty).kills[0].reason == "still busy after 1 s"


def test_a_start_gets_its_timeout() -> None:
    quick = revision(1, version("a", 2, start_timeout_ms=60_000))
    just = starting("i2", born=NOW - 60_000)
    assert look(settled(quick), ready("i1"), just).kills == ()
    late = starting("i2", born=NOW - 60_001)
    found = look(settled(quick), draining("i0"), ready("i1"), late)
    assert found.kills == (Kill("i2", "not ready within 60 s", failed=True),)


def test_each_revision_sets_the_timeout_of_its_own() -> None:
    quick = revision(1, version("a", start_timeout_ms=10))
    slow = revision(2, version("b", slot="a", start_timeout_ms=10_000))
    there = (starting("i1", born=NOW - 11), starting("i2", "b", slot="a", born=NOW - 11))
    assert [k.instance_id for k in look(updated(slow, quick), *there).kills] == ["i1"]
    assert [k.instance_id for k in look(updated(quick, slow), *there).kills] == ["i1"]
    other = starting("i3", "a", "2", born=NOW - 11)
    assert look(updated(slow, quick), ready("i1"), other).kills == ()


def test_a_start_that_nobody_wants_any_more_just_leaves() -> None:
    late = starting("i9", "z", slot="a", born=0)
    found = look(settled(OLD), ready("i1"), ready("i2"), late)
    assert (found.kills, found.retire) == ((), ("i9",))


# -- when it cannot be reached -------------------------------------------------------------------


def test_a_broken_target_moves_nothing_and_says_why() -> None:
    failed = (failure("b1"), failure("b1", message="no module named nothing"))
    there = (ready("i1"), ready("i2"), starting("i3", "b", slot="a"))
    found = look(updated(NEW, OLD), *there, failures=failed)
    assert found == Plan(
        split=split_of(OLD, seen(*there)), verdict=Verdict.BROKEN, cause="no module named nothing"
    )


def test_who_was_kept_and_stumbled_is_not_told_to_the_gateway() -> None:
    kept = Kept(revision(1, version("z", slot="a")), NOW + 9)
    there = (ready("i1"), ready("i2"), ready("k1", "z", slot="a"), starting("k2", "z", slot="a"))
    found = look(updated(NEW, OLD, kept=kept, rejected="answers errors"), *there)
    assert (found.verdict, found.idle) == (Verdict.BROKEN, {"k1"})
    assert endpoints(found) == {"a": ("i1", "i2"), "z": ("k1",)}


def test_a_refused_version_gets_no_more_than_its_step_gave_it() -> None:
    desired = updated(NEW, OLD, step=Step(5, since=NOW), rejected="answers errors")
    found = look(desired, ready("i1"), ready("i2"), new("i3"))
    assert (found.verdict, found.cause) == (Verdict.BROKEN, "answers errors")
    assert weights(found) == {"a": 95, "b": 5}


def test_after_going_back_it_gets_nothing() -> None:
    found = look(settled(OLD), ready("i1"), ready("i2"), new("i3"))
    assert (weights(found), found.retire) == ({"a": 100}, ("i3",))


# -- a guard -------------------------------------------------------------------------------------


def test_a_step_begins_when_its_instances_are_ready() -> None:
    desired = updated(NEW, OLD, step=Step(50, before=10))
    there = (ready("i1"), ready("i2"))
    waiting = look(desired, *there, starting("i3", "b", slot="a"))
    assert (waiting.percent, weights(waiting)) == (10, {"a": 90, "b": 10})
    begun = look(desired, *there, fresh("i3", "b", slot="a"))
    assert (begun.percent, weights(begun)) == (50, {"a": 50, "b": 50})


def test_a_step_that_has_begun_stays_in_force() -> None:
    desired = updated(NEW, OLD, step=Step(50, before=10, since=NOW))
    found = look(desired, ready("i1"), ready("i2"), starting("i3", "b", slot="a"))
    assert (found.percent, weights(found)) == (50, {"a": 50, "b": 50})


def test_before_the_first_step_all_goes_as_before() -> None:
    found = look(updated(NEW, OLD, step=Step(5)), ready("i1"), ready("i2"))
    assert (found.percent, weights(found)) == (0, {"a": 100})


def test_outside_of_a_guarded_rollout_there_is_no_percentage() -> None:
    there = (ready("i1"), ready("i2"))
    assert look(updated(NEW, OLD), *there).percent is None
    assert look(settled(OLD, step=Step(5)), *there).percent is None


def test_who_makes_room_is_out_of_the_blend() -> None:
    four, four_new = revision(1, version("a", 4)), revision(2, version("b", 4, slot="a"))
    desired = updated(four_new, four, step=Step(50, before=25))
    olds = (ready(f"i{n}", born=n) for n in range(4))
    found = look(desired, *olds, new("n0"))
    assert (found.retire, endpoints(found)["a"]) == (("i0",), ("i1", "i2", "i3"))


def test_instances_kept_from_before_are_not_known_while_two_are_compared() -> None:
    kept = Kept(revision(0, version("z", slot="a")), NOW + 9)
    desired = updated(NEW, OLD, step=Step(50, since=NOW), kept=kept)
    found = look(desired, ready("i1"), ready("i2"), new("i3"), ready("z", "z", slot="a"))
    assert weights(found) == {"a": 50, "b": 50}


# -- the former revision -------------------------------------------------------------------------


def test_what_is_kept_is_known_to_the_gateway_without_traffic() -> None:
    found = look(settled(NEW, kept=Kept(OLD, NOW + 9)), ready("i1"), new("i3"), new("i4"))
    assert (weights(found), found.idle) == ({"b": 100, "a": 0}, {"i1"})
    assert endpoints(found)["a"] == ("i1",)


def test_what_is_kept_is_a_reserve_until_the_target_has_proven_itself() -> None:
    """Later it is nobody's stand-in, not even where an update wants its version again."""
    was = revision(1, version("a"))
    target = revision(2, version("b", slot="a"), keep_ms=1_000)
    old, new = ready("i1"), ready("i2", "b", slot="a", served_at=NOW - 50)
    tried = look(running(target, target, was, probation_ms=100), old, new)
    assert (tried.idle, tried.reserve) == ({"i1"}, {"i1"})
    live = look(running(target, target, was, probation_ms=50), old, new)
    assert (live.verdict, live.idle, live.reserve) == (Verdict.LIVE, {"i1"}, frozenset())
    kept = look(settled(target, kept=Kept(was, NOW + 1)), old, new)
    assert (kept.idle, kept.reserve) == ({"i1"}, frozenset())
    assert look(updated(target, was), old).reserve == frozenset()


def test_what_is_no_longer_kept_is_not() -> None:
    found = look(settled(NEW, kept=Kept(OLD, NOW)), ready("i1"), new("i3"), new("i4"))
    assert (weights(found), found.idle, found.retire) == ({"b": 100}, frozenset(), ("i1",))


def test_going_back_to_what_is_kept_moves_weights_only() -> None:
    back = revision(3, version("a", 2), keep_ms=1_000)
    there = (ready("i1"), ready("i2"), new("i3"), new("i4"))
    found = look(updated(back, NEW, kept=Kept(OLD, NOW + 9)), *there)
    assert (found.starts, found.retire) == ((), ())
    assert weights(found) == {"a": 100, "b": 0}
    assert (found.verdict, found.idle) == (Verdict.LIVE, {"i3", "i4"})


# -- what was in force ---------------------------------------------------------------------------


def in_force(desired: Desired, *instances: object) -> dict[str, int]:
    found = present_split(desired, seen(*instances), NOW)  # type: ignore[arg-type]
    return weights(Plan(split=found))


def test_a_gateway_that_starts_anew_hears_what_was_in_force() -> None:
    assert present_split(running(OLD), seen(fresh("i1"), fresh("i2")), NOW) is None
    there = (ready("i1"), ready("i2"), fresh("i3", "b", slot="a"))
    assert in_force(updated(NEW, OLD), *there) == {"a": 100}, "nothing moves by a restart"


def test_a_guarded_step_is_in_force_when_it_has_begun() -> None:
    there = (ready("i1"), ready("i2"), new("i3"))
    assert in_force(updated(NEW, OLD, step=Step(50, before=10)), *there) == {"a": 90, "b": 10}
    begun = updated(NEW, OLD, step=Step(50, before=10, since=NOW))
    assert in_force(begun, *there) == {"a": 50, "b": 50}
    first = updated(NEW, OLD, step=Step(50))
    assert in_force(first, ready("i1"), ready("i2"), fresh("i3", "b", slot="a")) == {"a": 100}
    assert in_force(settled(OLD, step=Step(50, since=NOW)), ready("i1")) == {"a": 100}


def test_kept_instances_are_in_it_until_they_are_gone() -> None:
    over = settled(NEW, kept=Kept(OLD, NOW))
    assert in_force(over, ready("i1"), new("i3")) == {"b": 100, "a": 0}
    guarded = updated(NEW, OLD, step=Step(50, since=NOW), kept=Kept(revision(0, version("z")), NOW))
    assert in_force(guarded, ready("i1"), new("i3"), ready("z", "z")) == {"a": 50, "b": 50}


def test_also_those_that_the_target_keeps_once_it_has_taken_over() -> None:
    keeping = revision(2, version("b", 2, slot="a"), keep_ms=1_000)
    there = (ready("i1"), ready("i2"), new("i3"), new("i4"))
    desired = running(keeping, keeping, OLD, probation_ms=10**9)
    assert in_force(desired, *there) == {"b": 100, "a": 0}
    assert in_force(updated(keeping, OLD), *there[:3]) == {"a": 67, "b": 33}
    kept = Kept(revision(0, version("z")), NOW + 9)
    former = ready("z", "z")
    assert in_force(replace(desired, kept=kept), former, *there) == {"b": 100, "a": 0}


def test_kept_instances_are_no_strength_of_a_broken_target() -> None:
    desired = updated(NEW, OLD, kept=Kept(revision(0, version("z", slot="a")), NOW + 9))
    found = look(desired, ready("z", "z", slot="a"), failures=(failure("b1"), failure("b1")))
    assert (weights(found), found.idle) == ({"a": 100, "z": 0}, {"z"})
