"""When a revision takes over, who is set aside for later, and what has proven itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_support import (
    LONG_AGO,
    NOW,
    draining,
    endpoints,
    fresh,
    look,
    planning,
    ready,
    revision,
    running,
    settled,
    starting,
    updated,
    version,
)

from modelyard.domain.rollout.state import Instance, Kept, RevisionTarget, Step

OLD = revision(1, version("a", 2))


def cuts_over(target: RevisionTarget, *instances: Instance, before: RevisionTarget = OLD) -> bool:
    return planning(updated(target, before), *instances).cuts_over


def test_what_serves_goes_on_serving() -> None:
    assert planning(settled(OLD)).cuts_over


def test_a_creation_waits_for_the_strength_of_each_version() -> None:
    target = revision(1, version("a", 2, 50), version("b", 3, 50, max_unavailable=1.0))
    some = (fresh("i1"), fresh("i2"), fresh("i3", "b"))
    assert not planning(running(target), *some).cuts_over
    assert not planning(running(target), *some, starting("i4", "b")).cuts_over
    assert planning(running(target), *some, fresh("i4", "b")).cuts_over


def test_a_replaced_version_takes_over_with_its_first_ready_instance() -> None:
    new = revision(2, version("b", 2, slot="a"))
    olds = (ready("i1"), ready("i2"))
    assert not cuts_over(new, *olds, starting("i3", "b", slot="a"))
    assert cuts_over(new, *olds, fresh("i3", "b", slot="a"))


def test_but_only_when_old_and_new_together_are_enough() -> None:
    new = revision(2, version("b", 3, slot="a"))
    olds = (ready("i1"),)
    assert not cuts_over(new, *olds, fresh("i3", "b", slot="a"))
    assert cuts_over(new, *olds, fresh("i3", "b", slot="a"), fresh("i4", "b", slot="a"))


def test_who_is_to_be_kept_idle_carries_on_until_others_can() -> None:
    live = revision(1, version("a", 3, made="1"))
    serving = revision(2, version("a", 3, made="2"))
    keeping = revision(3, version("a", 3, made="2"), keep_ms=60_000)
    olds = (ready("i1"), ready("i2"))
    one, two = ready("n1", made="2"), fresh("n2", made="2")
    desired = running(keeping, serving, live)
    assert not planning(desired, *olds, one, two).cuts_over
    assert planning(desired, *olds, one, two, fresh("n3", made="2")).cuts_over


def test_envs_that_change_are_a_replacement_too() -> None:
    new = revision(2, version("a", 2, made="2"))
    assert not cuts_over(new, ready("i1"), ready("i2"))
    assert cuts_over(new, ready("i1"), ready("i2"), fresh("i3", made="2"))


def test_more_instances_take_over_when_they_are_ready() -> None:
    grown = revision(2, version("a", 4))
    assert not cuts_over(grown, ready("i1"), ready("i2"), fresh("i3"))
    assert cuts_over(grown, ready("i1"), ready("i2"), fresh("i3"), fresh("i4"))


def test_fewer_take_over_at_once() -> None:
    assert cuts_over(revision(2, version("a", 1)), ready("i1"), ready("i2"))


def test_weights_move_at_once_to_who_can_carry_them() -> None:
    before = revision(1, version("a", weight=90), version("b", weight=10))
    after = revision(2, version("a", weight=10), version("b", weight=90))
    assert cuts_over(after, ready("i1"), ready("i2", "b"), before=before)
    assert not cuts_over(after, ready("i1"), before=before)
    assert cuts_over(after, ready("i2", "b"), before=before), "a gets less, so nothing is lost"


def test_an_added_version_has_to_be_there_first() -> None:
    after = revision(2, version("a", 2, 50), version("b", 2, 50))
    olds = (ready("i1"), ready("i2"))
    assert not cuts_over(after, *olds, fresh("i3", "b"))
    assert cuts_over(after, *olds, fresh("i3", "b"), fresh("i4", "b"))


def test_a_version_without_weight_does_not_stand_in_for_the_one_that_follows_it() -> None:
    weightless = revision(1, version("a", weight=0), version("b"))
    followed = revision(2, version("c", weight=0, slot="a"), version("b"))
    weighted = revision(3, version("c", weight=60, slot="a"), version("b", weight=40))
    olds = (ready("i1", served_at=None), ready("i2", "b"))
    new = fresh("i3", "c", slot="a")
    found = look(running(weighted, followed, weightless), *olds, new)
    assert endpoints(found) == {"c": ("i3",), "b": ("i2",)}


def test_a_version_that_is_left_out_is_not_waited_for() -> None:
    before = revision(1, version("a", weight=50), version("b", weight=50))
    assert cuts_over(revision(2, version("a")), ready("i1"), before=before)


def test_who_keeps_the_former_revision_waits_for_the_whole_strength() -> None:
    new = revision(2, version("b", 2, slot="a"), keep_ms=1)
    olds = (ready("i1"), ready("i2"))
    assert not cuts_over(new, *olds, fresh("i3", "b", slot="a"))
    assert cuts_over(new, *olds, fresh("i3", "b", slot="a"), fresh("i4", "b", slot="a"))


def test_going_back_needs_one_instance_per_version_with_traffic() -> None:
    live = revision(1, version("a", 3, 60), version("b", 3, 40), version("c", 3, 0))
    desired = running(live, serving=revision(2, version("x", 3)), live=live)
    assert not planning(desired, ready("i1")).cuts_over
    assert not planning(desired, ready("i1"), starting("i2", "b")).cuts_over
    assert planning(desired, ready("i1"), ready("i2", "b")).cuts_over


def test_what_an_overtaken_update_left_behind_is_nothing_to_go_back_with() -> None:
    live, serving = revision(1, version("a")), revision(2, version("b", slot="a"))
    desired = running(live, serving, live)
    left = ready("i3", "c", slot="a")
    assert not planning(desired, left).cuts_over
    assert not planning(desired, left, starting("i2", "b", slot="a")).cuts_over
    assert planning(desired, left, ready("i2", "b", slot="a")).cuts_over
    assert planning(desired, left, fresh("i1")).cuts_over


def test_a_version_whose_forerunner_moves_to_another_slot_has_to_be_there_itself() -> None:
    """An overtaken update may have given away the slot of a model that goes on."""
    before = revision(1, version("a", 2, slot="first"))
    after = revision(
        2, version("b", 2, 50, slot="first"), version("a", 2, 50, made="2", slot="second")
    )
    ours = planning(updated(after, before))
    assert ours.predecessor(after.versions[0]) is None
    assert ours.predecessor(after.versions[1]) is None
    stays = revision(2, version("a", 2, made="2", slot="first"))
    assert planning(updated(stays, before)).predecessor(stays.versions[0]) == before.versions[0]
    assert planning(running(after)).predecessor(after.versions[0]) is None
    news = (fresh("i3", "b", slot="first"), fresh("i4", "a", "2", slot="second"))
    second = fresh("i5", "a", "2", slot="second")
    assert not cuts_over(after, ready("i1", slot="first"), *news, second, before=before)


# -- a guard ------------------------------------------------------------------------------------


def test_a_guard_holds_back_what_is_new() -> None:
    new = revision(2, version("b", 2, slot="a"))
    there = (ready("i1"), ready("i2"), fresh("i3", "b", slot="a"), fresh("i4", "b", slot="a"))
    guarded = planning(updated(new, OLD, step=Step(5)), *there)
    assert guarded.guarded
    assert not guarded.cuts_over
    assert not planning(updated(new, OLD), *there).guarded


def test_a_guard_has_nothing_to_say_where_nothing_is_new() -> None:
    fewer = revision(2, version("a", 1))
    assert not planning(updated(fewer, OLD, step=Step(5))).guarded
    assert not planning(running(OLD, step=Step(5))).guarded
    assert not planning(settled(OLD, step=Step(5))).guarded


# -- the former revision -------------------------------------------------------------------------

NEW = revision(2, version("b", slot="a"))
WAS = revision(1, version("a"))


def kept(until: int = NOW + 1, revision: RevisionTarget = WAS) -> Kept:
    return Kept(revision, until)


def test_kept_instances_are_set_aside() -> None:
    ours = planning(
        settled(NEW, kept=kept()), ready("i1"), ready("i2", "b", slot="a"), draining("i3")
    )
    assert ours.former == {"i1"}
    assert [i.instance_id for i in ours.present.instances] == ["i2", "i3"]
    assert ours.idle == {"i1"}


def test_without_a_former_revision_nobody_is() -> None:
    ours = planning(settled(NEW), ready("i1"), ready("i2", "b", slot="a"))
    assert ours.former == frozenset()
    assert ours.still_kept == frozenset()
    assert ours.idle == frozenset()


def test_what_the_target_or_the_serving_revision_makes_is_not_set_aside() -> None:
    assert planning(updated(WAS, NEW, kept=kept()), ready("i1")).former == frozenset()
    third = revision(3, version("c", slot="a"))
    ours = planning(running(third, WAS, WAS, kept=kept()), ready("i1"))
    assert ours.former == frozenset()
    assert planning(running(NEW, kept=kept()), ready("i1")).former == {"i1"}


def test_other_makings_of_the_model_are_not_kept() -> None:
    assert planning(settled(NEW, kept=kept()), ready("i1", made="2")).former == frozenset()


def test_kept_instances_are_let_go_when_their_time_is_over() -> None:
    there = (ready("i1"), ready("i2", "b", slot="a"))
    assert planning(settled(NEW, kept=kept(NOW + 1)), *there).still_kept == {"i1"}
    over = planning(settled(NEW, kept=kept(NOW)), *there)
    assert over.still_kept == frozenset()
    assert over.former == {"i1"}


def test_no_more_are_kept_than_the_revision_had_the_oldest_first() -> None:
    there = (ready("i3", born=30), ready("i2", born=10), ready("i1", born=10), starting("i4"))
    was = revision(1, version("a", 2))
    ours = planning(settled(NEW, kept=kept(revision=was)), *there)
    assert ours.still_kept == {"i1", "i2"}
    assert ours.former == {"i1", "i2", "i3", "i4"}


def test_a_target_that_keeps_its_former_revision_counts_without_it() -> None:
    target = revision(2, version("b", slot="a"), keep_ms=1_000)
    there = (ready("i1"), ready("i2"), starting("i3"), fresh("i4", "b", slot="a"))
    ours = planning(updated(target, WAS), *there)
    assert ours.kept_by_target == {"i1"}
    assert [i.instance_id for i in ours.own.instances] == ["i2", "i3", "i4"]
    assert ours.cuts_over
    assert ours.idle == {"i1"}


def test_as_many_as_are_missed_come_back_while_it_is_short_of_its_own() -> None:
    was, target = (
        revision(1, version("a", 3)),
        revision(2, version("b", 3, slot="a"), keep_ms=1_000),
    )
    olds = (ready("i1", born=1), ready("i2", born=2), ready("i3", born=3))
    news = (ready("n1", "b", slot="a"), ready("n2", "b", slot="a"), ready("n3", "b", slot="a"))
    taken_over = running(target, target, was)
    assert planning(taken_over, *olds, *news).idle == {"i1", "i2", "i3"}
    assert planning(taken_over, *olds, *news[:2]).idle == {"i1", "i2"}
    assert planning(taken_over, *olds).kept_by_target == frozenset()


def test_only_who_has_carried_traffic_comes_back() -> None:
    was, target = (
        revision(1, version("a", 2)),
        revision(2, version("b", slot="a"), keep_ms=1_000),
    )
    olds = (ready("i1", born=1), fresh("i2", born=2))
    assert planning(running(target, target, was), *olds).idle == {"i2"}


def test_what_the_target_makes_as_well_is_its_own() -> None:
    target = revision(2, version("a", weight=50), version("b", weight=50), keep_ms=1_000)
    assert planning(updated(target, WAS), ready("i1")).kept_by_target == frozenset()
    keeping = revision(1, version("a"), keep_ms=1_000)
    assert planning(settled(keeping), ready("i1")).kept_by_target == frozenset()
    assert planning(running(target), ready("i1")).kept_by_target == frozenset()
    assert planning(updated(NEW, WAS), ready("i1")).kept_by_target == frozenset()


def test_until_it_takes_over_those_kept_before_stay_idle() -> None:
    target = revision(3, version("c", slot="a"), keep_ms=1_000)
    there = (ready("i1"), ready("i2", "b", slot="a"))
    ours = planning(updated(target, NEW, kept=kept()), *there)
    assert not ours.cuts_over
    assert ours.idle == {"i1"}
    later = planning(updated(target, NEW, kept=kept()), *there, fresh("i3", "c", slot="a"))
    assert later.cuts_over
    assert later.idle == {"i2"}


# -- what is proven ------------------------------------------------------------------------------


@pytest.mark.parametrize(("served_for", "proven"), [(99, False), (100, True), (101, True)])
def test_a_new_version_is_proven_when_it_carried_traffic_for_the_probation(
    served_for: int, proven: bool
) -> None:
    desired = updated(NEW, WAS, probation_ms=100)
    there = ready("i1", "b", slot="a", served_at=NOW - served_for)
    assert planning(desired, there).proven(NEW.versions[0]) is proven


def test_only_traffic_proves_and_only_while_ready() -> None:
    desired = updated(NEW, WAS, probation_ms=100)
    assert not planning(desired, fresh("i1", "b", slot="a")).proven(NEW.versions[0])
    assert not planning(desired, draining("i1", "b", slot="a")).proven(NEW.versions[0])


def test_who_broke_down_begins_anew() -> None:
    desired = updated(NEW, WAS, probation_ms=100)
    back = replace(ready("i1", "b", slot="a", served_at=NOW - 500), since=NOW - 99)
    assert not planning(desired, back).proven(NEW.versions[0])
    assert planning(running(NEW, NEW, WAS, probation_ms=100), back).proven_at() == NOW + 1


@pytest.mark.parametrize("noticed", [50, 150])
def test_who_breaks_down_has_not_stood_its_probation_however_late_it_is_noticed(
    noticed: int,
) -> None:
    new, desired = NEW.versions[0], running(NEW, NEW, WAS, probation_ms=100)
    broken = replace(starting("i1", "b", slot="a"), served_at=NOW - 150, since=NOW - 150 + noticed)
    assert planning(desired, broken).broke_on_probation(new, broken)
    other = ready("i2", "b", slot="a", served_at=NOW - 200)
    assert planning(desired, broken, other).broke_on_probation(new, broken) is (noticed < 100)


def test_some_need_no_proof() -> None:
    new = NEW.versions[0]
    assert planning(updated(NEW, WAS, probation_ms=0)).proven(new)
    assert planning(running(NEW, probation_ms=100)).proven(new), "there is nothing to go back to"
    assert planning(settled(NEW, probation_ms=100)).proven(new), "it is live"
    silent = version("b", weight=0, slot="a")
    assert planning(updated(revision(2, silent), WAS, probation_ms=100)).proven(silent)


def test_what_is_kept_since_it_was_live_needs_none_either() -> None:
    desired = updated(WAS, NEW, kept=kept(), probation_ms=100)
    assert planning(desired, fresh("i1")).proven(WAS.versions[0])
    broken = replace(starting("i1"), served_at=NOW - 1)
    assert not planning(desired, broken).broke_on_probation(WAS.versions[0], broken)
    other = replace(desired, kept=kept(revision=revision(1, version("a", made="2"))))
    assert not planning(other, fresh("i1")).proven(WAS.versions[0])
    assert planning(other, broken).broke_on_probation(WAS.versions[0], broken)


def test_the_next_proof_is_foreseen() -> None:
    both = revision(2, version("b", weight=50, slot="a"), version("c", weight=50))
    desired = running(both, both, WAS, probation_ms=100)
    b, c = ready("i1", "b", slot="a", served_at=NOW - 30), ready("i2", "c", served_at=NOW - 60)
    assert planning(desired, b, c).proven_at() == NOW + 40
    assert planning(desired, b).proven_at() == NOW + 70
    assert planning(desired, fresh("i1", "b", slot="a")).proven_at() == NOW + 100
    assert planning(desired, ready("i2", "c", served_at=LONG_AGO)).proven_at() is None
    assert planning(desired).proven_at() is None


def test_an_overtaken_update_is_still_on_probation() -> None:
    """It has taken over, so what it replaces may leave as soon as it has proven itself."""
    third = revision(3, version("c", slot="a"))
    desired = running(third, NEW, WAS, probation_ms=100)
    there = (ready("i1"), ready("i2", "b", slot="a", served_at=NOW - 30))
    assert not planning(desired, *there).cuts_over
    assert planning(desired, *there).proven_at() == NOW + 70
    assert planning(running(third, None, WAS, probation_ms=100), *there).proven_at() is None
