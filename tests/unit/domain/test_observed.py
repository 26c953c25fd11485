"""What versions allow while they change, and which instances belong where."""

from __future__ import annotations

import pytest
from planner_support import draining, fresh, ready, revision, seen, starting, version

from modelyard.domain.rollout.state import RevisionTarget, Stage, VersionTarget
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.rollout_policy import Guard, Rollout


@pytest.mark.parametrize(
    ("max_surge", "count", "surge"),
    [(1.0, 5, 1), (2.0, 5, 2), (0.5, 4, 2), (0.5, 5, 3), (0.01, 3, 1), (0.0, 3, 1)],
)
def test_surge_is_a_count_or_a_fraction_rounded_up(
    max_surge: float, count: int, surge: int
) -> None:
    assert version("a", count, max_surge=max_surge).surge == surge


@pytest.mark.parametrize(
    ("max_unavailable", "count", "needed"),
    [(0.0, 5, 5), (1.0, 5, 4), (2.0, 5, 3), (0.5, 4, 2), (0.5, 5, 3), (0.34, 2, 2), (9.0, 5, 1)],
)
def test_what_may_be_missing_is_a_count_or_a_fraction_rounded_down(
    max_unavailable: float, count: int, needed: int
) -> None:
    assert version("a", count, max_unavailable=max_unavailable).needed == needed


CONFIG = VersionConfig(
    "model",
    "modelarts.vm.cpu.2u",
    3,
    40,
    deploy_timeout_s=600,
    max_surge=0.5,
    max_unavailable=2.0,
    grace_s=30,
    shadow=10,
    slot="first",
)


def test_the_planner_gets_what_it_needs_of_a_configuration() -> None:
    assert VersionTarget.of(CONFIG) == VersionTarget(
        model_id="model",
        slot="first",
        fingerprint=CONFIG.fingerprint,
        count=3,
        weight=40,
        max_surge=0.5,
        max_unavailable=2.0,
        start_timeout_ms=600_000,
        grace_ms=30_000,
        shadow=10,
    )


@pytest.mark.parametrize(("guard", "steps"), [(None, ()), (Guard(steps=(20, 60)), (20, 60))])
def test_the_planner_gets_what_it_needs_of_a_revision(
    guard: Guard | None, steps: tuple[int, ...]
) -> None:
    target = RevisionTarget.of(7, [CONFIG, CONFIG], Rollout(guard, keep_former_s=90))
    assert target == RevisionTarget(7, (VersionTarget.of(CONFIG),) * 2, 90_000, steps)


def test_an_instance_belongs_where_its_model_is_now_else_where_it_was_started() -> None:
    now = revision(2, version("a", slot="first"), version("b", slot="second"))
    assert now.slot_of(ready("i1", "b", slot="first")) == "second"
    assert now.slot_of(ready("i2", "gone", slot="first")) == "first"
    assert now.in_slot("second") == now.version("b")
    assert now.in_slot("third") is None
    assert now.version("gone") is None


def test_a_revision_makes_what_is_made_as_it_wants() -> None:
    now = revision(1, version("a", made="1"))
    assert now.makes("a", "a1")
    assert not now.makes("a", "a2")
    assert not now.makes("b", "a1")


def test_a_version_knows_its_instances_by_model_and_making() -> None:
    wanted = version("a", made="1")
    assert wanted.made(ready("i1", "a", "1"))
    assert not wanted.made(ready("i1", "a", "2"))
    assert not wanted.made(ready("i1", "b", "1"))


def test_made_counts_only_the_stages_asked_for() -> None:
    there = seen(ready("i1"), starting("i2"), draining("i3"), ready("i4", made="2"))
    names = [i.instance_id for i in there.made(version("a"), Stage.READY, Stage.STARTING)]
    assert names == ["i1", "i2"]


def test_the_living_of_a_slot_are_all_but_those_that_drain() -> None:
    there = seen(ready("i1"), starting("i2", made="2"), draining("i3"), ready("i4", "b"))
    now = revision(1, version("a"), version("b"))
    assert [i.instance_id for i in there.alive(now, "a")] == ["i1", "i2"]


def test_usable_is_who_is_made_for_it_or_has_proven_itself() -> None:
    now = revision(1, version("a"))
    there = seen(
        fresh("right"),
        ready("old", made="0"),
        fresh("untried", made="0"),
        starting("coming"),
    )
    names = [i.instance_id for i in there.usable(now, now.versions[0])]
    assert names == ["right", "old"]


def test_without_leaves_out_and_keeps_what_failed() -> None:
    there = seen(ready("i1"), ready("i2"))
    assert there.without(()) is there
    assert [i.instance_id for i in there.without({"i1"}).instances] == ["i2"]
    assert there.without({"i1"}).failures == there.failures
