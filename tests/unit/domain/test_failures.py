"""When a revision is given up, and when a start is tried again."""

from __future__ import annotations

import pytest
from planner_support import (
    LONG_AGO,
    NOW,
    failure,
    fresh,
    revision,
    running,
    seen,
    settled,
    starting,
    updated,
    version,
)

from modelyard.domain.rollout.backoff import not_before, proven_before, rollout_failure
from modelyard_instance.backoff import jitter_at

OLD = revision(1, version("a"))
NEW = revision(2, version("b", slot="a"))


def test_nothing_is_broken_without_failures() -> None:
    assert rollout_failure(updated(NEW, OLD), seen()) == ""


def test_one_failed_start_is_forgiven_the_second_is_not() -> None:
    once = (failure("b1", NOW - 2, "first"),)
    assert rollout_failure(updated(NEW, OLD), seen(failures=once)) == ""
    twice = (failure("b1", NOW, "second"), *once)
    assert rollout_failure(updated(NEW, OLD), seen(failures=twice)) == "second"


def test_a_decisive_failure_is_not_tried_again() -> None:
    failed = (failure("b1", message="not ready within 60 s", decisive=True),)
    assert rollout_failure(updated(NEW, OLD), seen(failures=failed)) == "not ready within 60 s"


def test_only_failures_since_the_wish_and_of_the_version_count() -> None:
    before = (failure("b1", LONG_AGO - 1), failure("b1", LONG_AGO - 1))
    assert rollout_failure(updated(NEW, OLD), seen(failures=before)) == ""
    at_once = (failure("b1", LONG_AGO), failure("b1", LONG_AGO))
    assert rollout_failure(updated(NEW, OLD), seen(failures=at_once)) == "boom"
    others = (failure("a1"), failure("a1"))
    assert rollout_failure(updated(NEW, OLD), seen(failures=others)) == ""


def test_any_version_of_the_target_breaks_it() -> None:
    both = revision(2, version("a", weight=50), version("b", weight=50))
    failed = (failure("b1"), failure("b1"))
    assert rollout_failure(updated(both, OLD), seen(failures=failed)) == "boom"


def test_a_creation_breaks_as_an_update_does() -> None:
    failed = (failure("a1"), failure("a1"))
    assert rollout_failure(running(OLD), seen(failures=failed)) == "boom"


def test_a_live_version_is_repaired_for_ever_without_a_budget() -> None:
    failed = tuple(failure("a1", decisive=True) for _ in range(50))
    assert rollout_failure(settled(OLD), seen(failures=failed)) == ""


def test_what_the_live_revision_is_made_of_has_proven_itself() -> None:
    assert proven_before(version("a"), settled(OLD))
    assert not proven_before(version("a", made="2"), settled(OLD))
    assert not proven_before(version("a"), running(OLD))


def test_a_guard_refuses_a_target_but_never_what_is_live() -> None:
    assert rollout_failure(updated(NEW, OLD, rejected="too slow"), seen()) == "too slow"
    assert rollout_failure(settled(OLD, rejected="too slow"), seen()) == ""
    assert rollout_failure(running(OLD, rejected="too slow"), seen()) == "too slow"


def test_the_restart_budget_ends_a_crash_loop_that_serves_nothing() -> None:
    failed = (failure(at=NOW, message="last"), failure(at=NOW - 2), failure(at=NOW - 1))
    desired = settled(OLD, restart_budget=3)
    assert rollout_failure(desired, seen(failures=failed)) == (
        "no instance is ready after 3 failures within an hour: last"
    )
    assert rollout_failure(desired, seen(failures=failed[:2])) == ""
    assert rollout_failure(desired, seen(starting("i1"), failures=failed)) != ""
    assert rollout_failure(desired, seen(fresh("i1"), failures=failed)) == ""


def test_the_budget_is_for_what_is_live_only() -> None:
    grown = revision(2, version("a", 2))
    failed = (failure(), failure(), failure())
    assert rollout_failure(updated(grown, OLD, restart_budget=3), seen(failures=failed)) == ""
    assert rollout_failure(settled(OLD, restart_budget=0), seen(failures=failed)) == ""


@pytest.mark.parametrize(
    ("failures", "wait"),
    [(2, 500), (3, 1_000), (4, 2_000), (8, 32_000), (9, 60_000), (100, 60_000)],
)
def test_each_failure_doubles_the_wait_up_to_a_minute(failures: int, wait: int) -> None:
    failed = tuple(failure(at=NOW - n) for n in range(failures))
    at = not_before(version("a"), seen(failures=failed))
    assert at == NOW + round(wait * (1 - jitter_at(NOW) / 2))
    assert NOW + wait / 2 < at <= NOW + wait


def test_the_first_failure_is_followed_at_once_also_by_a_wish_of_old() -> None:
    assert not_before(version("a"), seen()) == 0
    assert not_before(version("a"), seen(failures=(failure(),))) == 0
    before_all_wishes = (failure(at=0), failure(at=0))
    assert not_before(version("a"), seen(failures=before_all_wishes)) == 500
    of_others = (failure("b1"), failure("b1"))
    assert not_before(version("a"), seen(failures=of_others)) == 0
