"""What a person reads of a preview."""

from __future__ import annotations

import doctest
from dataclasses import replace
from typing import Any

import pytest

from modelyard.domain.preview import start_times
from modelyard.domain.preview.change import ModelName, PlannedChange
from modelyard.domain.preview.document import explain
from modelyard.domain.preview.instance_steps import acts
from modelyard.domain.preview.simulation import Assumptions, simulate
from modelyard.domain.preview.start_times import start_time
from modelyard.domain.rollout.state import (
    Desired,
    DesiredStatus,
    Instance,
    Observed,
    RevisionTarget,
    Stage,
    VersionTarget,
)
from modelyard.domain.service.revision import Change, Effect
from modelyard.errors import Problem

NOW = 1_000_000_000
A = VersionTarget("a", "a", "fa", 2, 100)
B = replace(A, model_id="b", fingerprint="fb", count=1)
FIRST = RevisionTarget(1, (A,))
LIVE = Desired(DesiredStatus.RUNNING, FIRST, FIRST, FIRST, since=NOW - 9_000)
NAMES = {"a": ModelName("iris", "0.0.1"), "b": ModelName("iris", "0.0.2")}


def instance(name: str, version: VersionTarget, stage: Stage = Stage.READY) -> Instance:
    served = NOW - 8_000 if stage is not Stage.STARTING else None
    return Instance(
        name,
        version.model_id,
        version.slot,
        version.fingerprint,
        stage,
        created_at=NOW - 9_000,
        since=NOW - 8_000,
        served_at=served,
    )


TWO = (instance("i1", A), instance("i2", A))


def change(field: str, effect: Effect = Effect.NONE) -> Change:
    return Change(field, 1, 2, effect)


def told(
    after: Desired,
    *fields: str,
    before: Desired = LIVE,
    instances: tuple[Instance, ...] = TWO,
    effect: Effect = Effect.NONE,
    **more: Any,
) -> list[str]:
    times = {model: start_time((3_000,), ()) for model in NAMES}
    observed = Observed(instances)
    case = PlannedChange(
        before=before,
        after=after,
        observed=observed,
        now=NOW,
        trace=simulate(after, observed, Assumptions({"a": 3_000, "b": 3_000}, 1), NOW),
        **{"status": "running", "present": 1, "names": NAMES, "times": times, **more},
        changes=tuple(change(name, effect) for name in fields),
    )
    sentences = explain(case)["sentences"]
    assert isinstance(sentences, list)
    return sentences


def wish(*versions: VersionTarget, **more: Any) -> Desired:
    return replace(LIVE, target=RevisionTarget(2, versions), since=NOW, **more)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (("config[0].weight", "config[1].weight"), "Nothing restarts: only weights change."),
        (
            ("config[0].additional_properties.x",),
            "Nothing restarts: only the additional properties change.",
        ),
        (("load_balancer_policy",), "Nothing restarts: only the load-balancer policy changes."),
        (("rollout.guard",), "Nothing restarts: only the way of the rollout changes."),
        (
            ("config[0].weight", "config[0].max_surge", "config[0].shadow"),
            "Nothing restarts: only weights, the surge and shadows change.",
        ),
        (("config[0].affinity",), "Nothing restarts: only affinity changes."),
    ],
)
def test_what_restarts_nothing(fields: tuple[str, ...], sentence: str) -> None:
    assert told(wish(A), *fields, revision=2) == [sentence, "Takes less than a second."]


def test_what_is_only_described() -> None:
    said = told(LIVE, "description", "due_time")
    assert said == ["Nothing restarts: only the description and the time of the auto stop change."]
    said = told(LIVE, "description", under_way=True)
    assert said[1:] == ["The update to revision 1 goes on meanwhile."]


def test_nothing_at_all() -> None:
    assert told(LIVE) == ["Nothing would change."]
    assert told(LIVE, asked="running") == ["Nothing would change: the service is running already."]
    assert told(LIVE, under_way=True)[1] == "The update to revision 1 goes on meanwhile."
    said = told(wish(A), revision=2)
    assert said == ["Nothing would change: revision 2 would be the same as revision 1."]


def test_a_count_that_is_there_already() -> None:
    third = instance("i3", A)
    said = told(
        wish(replace(A, count=3)),
        "config[0].instance_count",
        effect=Effect.COUNT,
        instances=(*TWO, third),
        revision=2,
    )
    assert said[0] == "Nothing starts or ends: the instances there are suffice."


def test_a_version_that_comes_back() -> None:
    said = told(
        wish(B), "config[0].model_id", effect=Effect.REPLACE, revision=2, origin=1, under_way=True
    )
    assert said == [
        "The update to revision 1 is still under way; this one takes its place.",
        "Revision 1 comes back, as revision 2.",
        "Starts 1 instance of [iris 0.0.2] in place of [iris 0.0.1]; the old one leaves when it "
        "has taken over.",
        "Traffic: [iris 0.0.2] 0 % → 100 %, [iris 0.0.1] 100 % → 0 %.",
        "Takes about 3 s.",
    ]


def test_a_stop_with_one_and_with_none() -> None:
    stop = replace(LIVE, wanted=DesiredStatus.STOPPED)
    said = told(stop, "status", asked="stopped", instances=TWO[:1], under_way=True)
    assert said[0].startswith("The service stops: 1 instance finishes the predictions in work, ")
    assert said[1] == "The update to revision 1 ends with it."
    said = told(stop, "status", asked="stopped", instances=())
    assert said[0] == "The service stops; it has no instances."


def test_what_is_in_the_way_comes_first() -> None:
    problem = Problem("config", "the shared pool lacks 2 CPU cores", "Send fewer.")
    said = told(wish(replace(A, count=4)), "config[0].instance_count", problems=(problem,))
    assert said[0] == "It would be refused: the shared pool lacks 2 CPU cores."


def test_guesses_are_called_guesses() -> None:
    times = {model: start_time((), ()) for model in NAMES}
    said = told(wish(B), "config[0].model_id", effect=Effect.REPLACE, revision=2, times=times)
    assert said[-1] == "Takes about 3 s, which is a guess."


def test_why_each_instance_leaves() -> None:
    third = replace(A, fingerprint="fc")
    found = Observed(
        (
            *TWO,
            instance("i3", A, Stage.DRAINING),
            instance("i4", B, Stage.STARTING),
            instance("i5", third, Stage.STARTING),
        )
    )
    after = wish(replace(A, fingerprint="fc", count=1))
    trace = simulate(after, found, Assumptions({"a": 3_000}, 1), NOW)
    case = PlannedChange(LIVE, after, found, NOW, trace, "running")
    whys = {(a.instance_id, a.action.value): a.cause.name for a in acts(case)}
    assert whys == {
        ("i5", "kept"): "COMES_UP",
        ("i3", "stopped"): "LEAVING",
        ("i4", "stopped"): "OVERTAKEN",
        ("i1", "drained"): "SUCCEEDED",
        ("i2", "drained"): "SUCCEEDED",
    }


def test_examples_in_the_texts_hold() -> None:
    assert doctest.testmod(start_times).failed == 0
