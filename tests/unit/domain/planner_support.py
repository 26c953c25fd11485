"""Short words for the planner's stories: versions, revisions, instances, and a look at them.

Times are in ms; ``NOW`` is when the planner looks, ``LONG_AGO`` lies well before it.
"""

from __future__ import annotations

from typing import Any

from modelyard.domain.rollout.planner import Plan, plan
from modelyard.domain.rollout.planning_state import PlanningState
from modelyard.domain.rollout.state import (
    Desired,
    DesiredStatus,
    Failure,
    Instance,
    Observed,
    RevisionTarget,
    Stage,
    VersionTarget,
)

NOW = 1_000_000
LONG_AGO = 1_000


def version(
    model: str, count: int = 1, weight: int = 100, made: str = "1", slot: str = "", **more: Any
) -> VersionTarget:
    """A version of ``model``, made in the way ``made``, in a slot named like the model."""
    return VersionTarget(model, slot or model, f"{model}{made}", count, weight, **more)


def revision(number: int, *versions: VersionTarget, keep_ms: int = 0) -> RevisionTarget:
    return RevisionTarget(number, versions, keep_ms)


def running(
    target: RevisionTarget,
    serving: RevisionTarget | None = None,
    live: RevisionTarget | None = None,
    **more: Any,
) -> Desired:
    """``target`` is wanted since ``LONG_AGO``."""
    more = {"wanted": DesiredStatus.RUNNING, **more}
    return Desired(target=target, serving=serving, live=live, since=LONG_AGO, **more)


def settled(target: RevisionTarget, **more: Any) -> Desired:
    """``target`` serves and is live."""
    return running(target, target, target, **more)


def updated(target: RevisionTarget, before: RevisionTarget, **more: Any) -> Desired:
    """``target`` is to follow ``before``, which serves and is live."""
    return running(target, before, before, **more)


def _instance(
    name: str, model: str, stage: Stage, made: str, slot: str, born: int, served_at: int | None
) -> Instance:
    return Instance(
        name, model, slot or model, f"{model}{made}", stage, born, born, served_at=served_at
    )


def starting(
    name: str, model: str = "a", made: str = "1", slot: str = "", born: int = NOW
) -> Instance:
    return _instance(name, model, Stage.STARTING, made, slot, born, None)


def fresh(
    name: str, model: str = "a", made: str = "1", slot: str = "", born: int = NOW
) -> Instance:
    """Ready, and has never carried traffic."""
    return _instance(name, model, Stage.READY, made, slot, born, None)


def ready(
    name: str,
    model: str = "a",
    made: str = "1",
    slot: str = "",
    born: int = LONG_AGO,
    served_at: int | None = LONG_AGO,
) -> Instance:
    """Ready, and carries traffic since ``served_at``."""
    return _instance(name, model, Stage.READY, made, slot, born, served_at)


def draining(
    name: str, model: str = "a", made: str = "1", slot: str = "", since: int = NOW
) -> Instance:
    return _instance(name, model, Stage.DRAINING, made, slot, since, LONG_AGO)


def failure(made: str = "a1", at: int = NOW, message: str = "boom", **more: Any) -> Failure:
    return Failure(made, at, message, **more)


def seen(*instances: Instance, failures: tuple[Failure, ...] = ()) -> Observed:
    return Observed(instances, failures)


def planning(desired: Desired, *instances: Instance, now: int = NOW) -> PlanningState:
    return PlanningState(desired, Observed(instances), now)


def look(
    desired: Desired, *instances: Instance, failures: tuple[Failure, ...] = (), now: int = NOW
) -> Plan:
    """The plan for ``instances`` at ``now``."""
    return plan(desired, Observed(instances, failures), now)


def started(found: Plan) -> list[str]:
    """What a plan starts, each as model and making."""
    return [start.fingerprint for start in found.starts]


def weights(found: Plan) -> dict[str, int]:
    """The weights of a plan's split, by model, those with variants as ``model/variant``."""
    assert found.split is not None
    return {
        f"{share.model_id}/{share.variant}" if share.variant else share.model_id: share.weight
        for share in found.split.shares
    }


def endpoints(found: Plan) -> dict[str, tuple[str, ...]]:
    """Who is behind each share, named as ``weights`` does."""
    assert found.split is not None
    return {
        f"{share.model_id}/{share.variant}" if share.variant else share.model_id: share.endpoints
        for share in found.split.shares
    }
