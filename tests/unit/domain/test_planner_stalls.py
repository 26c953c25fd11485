"""Updates that arrive while a slot changes its version must not leave the service waiting for ever.

Found by the storm (``tests/e2e/test_storm.py``) and by thousands of histories
(``tests/property/test_planner.py``): nothing was started, nothing left, and at best a timer was
set.
"""

from __future__ import annotations

from modelyard.domain.rollout.planner import Plan, Verdict, plan
from modelyard.domain.rollout.state import (
    Desired,
    DesiredStatus,
    Instance,
    Observed,
    RevisionTarget,
    Stage,
    Step,
    VersionTarget,
)

LATER = 1_000_000


def version(model_id: str, slot: str, made: str, count: int, weight: int) -> VersionTarget:
    return VersionTarget(model_id, slot, made, count, weight)


def ready(model_id: str, slot: str, made: str, count: int) -> tuple[Instance, ...]:
    """``count`` instances that carry traffic since long ago."""
    return tuple(
        Instance(f"{model_id}{n}", model_id, slot, made, Stage.READY, n, n, served_at=n)
        for n in range(count)
    )


def gets_on(found: Plan) -> bool:
    """It does something, looks again, or is there."""
    return bool(found.starts or found.retire or found.check_at or found.verdict is Verdict.LIVE)


def test_more_instances_of_a_version_whose_forerunners_have_not_left() -> None:
    live = RevisionTarget(1, (version("old", "slot", "old", 3, 100),))
    serving = RevisionTarget(2, (version("new", "slot", "new", 3, 100),))
    target = RevisionTarget(3, (version("new", "slot", "new", 4, 100),))
    seen = Observed((*ready("old", "slot", "old", 3), *ready("new", "slot", "new", 3)))
    desired = Desired(DesiredStatus.RUNNING, target, serving, live, since=0)
    assert gets_on(plan(desired, seen, LATER))


def test_a_version_that_comes_back_otherwise_in_another_slot() -> None:
    other = version("other", "second", "other", 1, 50)
    live = RevisionTarget(1, (version("model", "first", "before", 3, 50), other))
    serving = RevisionTarget(2, (version("new", "first", "new", 3, 50), other))
    comes_back = version("model", "second", "after", 2, 50)
    target = RevisionTarget(3, (version("new", "first", "new", 3, 50), comes_back))
    seen = Observed(
        (
            *ready("model", "first", "before", 3),
            *ready("new", "first", "new", 3),
            *ready("other", "second", "other", 1),
        )
    )
    desired = Desired(DesiredStatus.RUNNING, target, serving, live, since=0)
    assert gets_on(plan(desired, seen, LATER))


def test_a_new_version_that_dies_after_it_has_taken_over_from_more() -> None:
    live = RevisionTarget(1, (version("old", "slot", "old", 4, 100),))
    target = RevisionTarget(2, (version("new", "slot", "new", 1, 100),))
    seen = Observed(ready("old", "slot", "old", 4))
    desired = Desired(DesiredStatus.RUNNING, target, target, live, since=0, probation_ms=2_000)
    assert [start.model_id for start in plan(desired, seen, LATER).starts] == ["new"]


def test_a_guarded_version_whose_model_serves_in_another_slot() -> None:
    serving = RevisionTarget(
        1, (version("left", "one", "left", 4, 50), version("moved", "two", "before", 4, 50))
    )
    target = RevisionTarget(2, (version("moved", "one", "after", 4, 100),))
    seen = Observed(
        (
            *ready("left", "one", "left", 4),
            *ready("moved", "two", "before", 4),
            Instance("first", "moved", "one", "after", Stage.READY, 9, 9, served_at=9),
        )
    )
    desired = Desired(DesiredStatus.RUNNING, target, serving, serving, since=0, step=Step(50, 5))
    # Half of the traffic wants two new ones; for the second one, somebody has to make room.
    assert plan(desired, seen, LATER).retire == ("left0",)
