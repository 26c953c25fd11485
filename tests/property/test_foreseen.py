"""For any change of any service the preview comes to an end, and the end is what was asked for.

HISTORIES=2000 pytest tests/property/test_foreseen.py     # the long run
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from test_planner import MODELS, configs

from modelyard.domain.preview.change import PlannedChange
from modelyard.domain.preview.document import explain
from modelyard.domain.preview.pool_usage import pool_uses
from modelyard.domain.preview.simulation import Assumptions, Trace, simulate
from modelyard.domain.preview.start_times import start_time
from modelyard.domain.rollout.state import (
    Instance,
    Observed,
    RevisionTarget,
    Stage,
)
from modelyard.domain.rollout.transition import Configure, Stop, accept, begin
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.revision import diff
from modelyard.domain.service.rollout_policy import Guard, Rollout
from modelyard.domain.service.slots import assign_slots
from modelyard.domain.service.traffic import LoadBalancerPolicy

NOW = 1_000_000_000
TIMES = {"a": 1_000, "b": 3_000, "c": 40}
Configs = tuple[VersionConfig, ...]


@dataclass(frozen=True)
class Content:
    config: Configs
    policy: LoadBalancerPolicy = LoadBalancerPolicy.ROUND_ROBIN
    rollout: Rollout = field(default_factory=Rollout)


def deployed(config: Configs) -> Trace:
    first = replace(begin(RevisionTarget.of(1, config, Rollout()), NOW), probation_ms=200)
    return simulate(first, Observed(), Assumptions(TIMES, 2_000), NOW)


@st.composite
def troubled(draw: st.DrawFn, instances: tuple[Instance, ...], now: int) -> Observed:
    """Some of the instances are gone, start again, or leave."""
    found = []
    for number, instance in enumerate(instances):
        fate = draw(st.sampled_from(("ready", "ready", "ready", "gone", "starting", "draining")))
        named = replace(instance, instance_id=f"old-{number}")
        if fate == "starting":
            named = replace(named, stage=Stage.STARTING, since=now - 500)
        if fate == "draining":
            named = replace(named, stage=Stage.DRAINING, since=now - 500)
        if fate != "gone":
            found.append(named)
    return Observed(tuple(found))


@given(
    before=configs(),
    after=configs(),
    keep_ms=st.sampled_from((0, 0, 60_000)),
    steps=st.sampled_from(((), (), (10,), (5, 25, 50))),
    data=st.data(),
)
@settings(max_examples=int(os.environ.get("HISTORIES", "80")), deadline=None)
def test_a_preview_ends_where_the_change_leads(
    before: Configs, after: Configs, keep_ms: int, steps: tuple[int, ...], data: st.DataObject
) -> None:
    before = assign_slots((), before)
    after = assign_slots(before, after)
    start = deployed(before)
    assert start.done_at is not None
    now = NOW + 1_000_000
    observed = data.draw(troubled(start.moments[-1].alive, now))
    guard = Guard(steps=steps, hold_s=30) if steps else None
    target = RevisionTarget.of(2, after, Rollout(guard, keep_ms // 1000))
    changed = accept(start.end, Configure(target), now)
    trace = simulate(changed, observed, Assumptions(TIMES, 2_000, guard=guard), now)
    _reaches(trace, after)
    case = PlannedChange(
        before=start.end,
        after=changed,
        observed=observed,
        now=now,
        trace=trace,
        status="running",
        present=1,
        revision=2,
        guard=guard,
        changes=diff(Content(before), Content(after)),
        uses=pool_uses(
            trace,
            observed.instances,
            {(c.model_id, c.fingerprint): c for c in (*before, *after)},
            (),
        ),
        times={model: start_time((TIMES.get(model, 2_000),), ()) for model in MODELS},
        started_for={i.instance_id: 1 for i in observed.instances},
    )
    _tells(explain(case), case, after)
    stopped = accept(trace.end, Stop(), now)
    end = simulate(stopped, Observed(trace.moments[-1].alive), Assumptions({}, 1), now)
    assert (end.moments[-1].alive, end.done_at is not None, end.at_rest) == ((), True, True)


def _reaches(trace: Trace, after: Configs) -> None:
    assert (trace.at_rest, trace.cause) == (True, "")
    assert trace.done_at is not None
    assert trace.end.live is not None
    assert (trace.end.live.number, trace.end.kept) == (2, None)
    last = trace.moments[-1]
    assert {i.stage for i in last.alive} == {Stage.READY}
    there = Counter((i.model_id, i.fingerprint) for i in last.alive)
    assert there == Counter({(c.model_id, c.fingerprint): c.instance_count for c in after})
    for moment in trace.moments:
        split = moment.split
        assert split is None or sum(share.weight for share in split.shares) == 100
    assert len(set(trace.drains)) == len(trace.drains)


def _tells(document: dict[str, object], case: PlannedChange, after: Configs) -> None:
    told = document["instances"]
    assert isinstance(told, list)
    ends = {(act["instance_id"], act["action"]) for act in told}
    assert len(ends) == len(told), "told twice"
    left = {name for name, action in ends if action in ("drained", "stopped")}
    stay = {name for name, action in ends if action in ("kept", "started")} - left
    assert stay == {i.instance_id for i in case.trace.moments[-1].alive}
    traffic = document["traffic"]
    assert isinstance(traffic, list)
    weights = {v["model_id"]: v["weight"] for v in traffic[-1]["versions"] if v["weight"]}
    assert weights == {c.model_id: c.weight for c in after if c.weight}
    assert document["sentences"]
