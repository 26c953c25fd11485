"""Laws of the planner, over histories of updates, crashes and slow starts in any order.

The machine below is a small world: a runtime whose instances become ready, fail or die when
Hypothesis says so, and a loop that carries out plans the way the real one does.

    HISTORIES=10000 pytest --timeout=0 tests/property/test_planner.py     # the long run
"""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from modelyard.domain.canary.analysis import Decision
from modelyard.domain.rollout.canary_pairs import new_versions
from modelyard.domain.rollout.outcome import Transition, outcome
from modelyard.domain.rollout.planner import Plan, Verdict, plan, present_split
from modelyard.domain.rollout.planning_state import PlanningState
from modelyard.domain.rollout.state import (
    DesiredStatus,
    Failure,
    Instance,
    Observed,
    RevisionTarget,
    Stage,
)
from modelyard.domain.rollout.traffic_split import Split, served_since
from modelyard.domain.rollout.transition import (
    Change,
    Configure,
    Start,
    StepDecision,
    Stop,
    accept,
    apply,
    begin,
    decide,
)
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.rollout_policy import Guard, Rollout
from modelyard.domain.service.slots import assign_slots

MODELS = ("a", "b", "c", "d")
PROBATION_MS = 200
BUDGET = 30


@st.composite
def configs(draw: st.DrawFn) -> tuple[VersionConfig, ...]:
    models = draw(st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(models) - 1, max_size=2)))
    cuts = [0, *cuts[: len(models) - 1], 100]
    return tuple(
        VersionConfig(
            model_id=model,
            specification="flavor",
            envs={"MAKING": str(draw(st.integers(1, 2)))},
            instance_count=draw(st.integers(1, 4)),
            weight=cuts[i + 1] - cuts[i],
            max_surge=draw(st.sampled_from((1.0, 2.0, 0.5))),
            max_unavailable=draw(st.sampled_from((0.0, 1.0, 0.34))),
            deploy_timeout_s=60,
        )
        for i, model in enumerate(models)
    )


class World(RuleBasedStateMachine):
    """One service from its creation on."""

    @initialize(config=configs())
    def create(self, config: tuple[VersionConfig, ...]) -> None:
        self.now = 1_000_000
        self.counter = 0
        self.instances: dict[str, Instance] = {}
        self.failures: tuple[Failure, ...] = ()
        self.broken: set[str] = set()
        self.acked: Split | None = None
        self.configs = {1: assign_slots((), config)}
        self.desired = replace(
            begin(RevisionTarget.of(1, self.configs[1], Rollout()), self.now),
            probation_ms=PROBATION_MS,
            restart_budget=BUDGET,
        )

    # -- what happens to the service -----------------------------------------------------------

    @rule(
        config=configs(),
        keep_ms=st.sampled_from((0, 0, 5_000, 500_000)),
        steps=st.sampled_from(((), (), (5, 50), (34,))),
    )
    def update(
        self, config: tuple[VersionConfig, ...], keep_ms: int, steps: tuple[int, ...]
    ) -> None:
        self._configure(config, keep_ms, steps)

    @rule(pick=st.integers(0, 20), keep_ms=st.sampled_from((0, 5_000)))
    def goes_back_by_hand(self, pick: int, keep_ms: int) -> None:
        former = self.configs[sorted(self.configs)[pick % len(self.configs)]]
        self._configure(former, keep_ms, ())

    def _configure(
        self, config: tuple[VersionConfig, ...], keep_ms: int, steps: tuple[int, ...]
    ) -> None:
        number = max(self.configs) + 1
        self.configs[number] = assign_slots(self.configs[self.desired.target.number], config)
        rollout = Rollout(Guard(steps) if steps else None, keep_ms // 1000)
        self._accept(Configure(RevisionTarget.of(number, self.configs[number], rollout)))

    def _accept(self, change: Change) -> None:
        before = self.desired
        self.desired = accept(before, change, self.now)
        assert self.desired.generation == before.generation + 1

    @rule()
    def stop(self) -> None:
        self._accept(Stop())

    @precondition(lambda self: not self.instances)
    @rule()
    def start(self) -> None:
        self._accept(Start())

    @precondition(lambda self: self.desired.step is not None)
    @rule()
    def step_is_good(self) -> None:
        self._decide(Decision.CONTINUE)

    @precondition(lambda self: self.desired.step is not None)
    @rule()
    def step_is_rejected(self) -> None:
        self._decide(Decision.ROLL_BACK)

    def _decide(self, decision: Decision) -> None:
        self.desired = decide(self.desired, StepDecision(decision, "answers errors"), self.now)

    # -- what happens to instances ---------------------------------------------------------------

    def _some(self, pick: int, *stages: Stage) -> Instance | None:
        found = sorted(
            (i for i in self.instances.values() if i.stage in stages), key=lambda i: i.instance_id
        )
        return found[pick % len(found)] if found else None

    @rule(pick=st.integers(0, 20))
    def becomes_ready(self, pick: int) -> None:
        instance = self._some(pick, Stage.STARTING)
        if instance and instance.fingerprint not in self.broken:
            self._move(instance, Stage.READY)

    @rule(pick=st.integers(0, 20))
    def dies(self, pick: int) -> None:
        instance = self._some(pick, Stage.STARTING, Stage.READY)
        if instance:
            self._end(instance, "killed", decisive=False)

    @rule(pick=st.integers(0, 20))
    def stumbles(self, pick: int) -> None:
        """A ready instance's worker crashes; the instance has to become ready again."""
        instance = self._some(pick, Stage.READY)
        if instance:
            self._move(instance, Stage.STARTING)

    @rule(pick=st.integers(0, 20))
    def drained(self, pick: int) -> None:
        instance = self._some(pick, Stage.DRAINING)
        if instance:
            del self.instances[instance.instance_id]

    @rule(pick=st.integers(0, 20))
    def turns_out_broken(self, pick: int) -> None:
        versions = self.desired.target.versions
        version = versions[pick % len(versions)]
        live = self.desired.live
        proven = {v.fingerprint for v in live.versions} if live else set()
        proven |= {i.fingerprint for i in self.instances.values() if i.stage is Stage.READY}
        if version.fingerprint not in proven:
            self.broken.add(version.fingerprint)

    @rule(ms=st.sampled_from((10, 600, 6_000, 70_000)))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    # -- the loop --------------------------------------------------------------------------------

    @rule()
    def loop_looks(self) -> None:
        self.look()

    @rule(rounds=st.integers(1, 6))
    def calm(self, rounds: int) -> None:
        """A while in which all goes well: what starts becomes ready."""
        for _ in range(rounds):
            self.look()
            self.now += 100
            for instance in list(self.instances.values()):
                if instance.stage is Stage.STARTING and instance.fingerprint not in self.broken:
                    self._move(instance, Stage.READY)

    def look(self) -> Plan:
        observed = Observed(tuple(self.instances.values()), self.failures)
        todo = plan(self.desired, observed, self.now)
        self._judge(observed, todo)
        for start in todo.starts:
            self.counter += 1
            self.instances[f"i{self.counter:04}"] = Instance(
                f"i{self.counter:04}",
                start.model_id,
                start.slot,
                start.fingerprint,
                Stage.STARTING,
                created_at=self.now,
                since=self.now,
            )
        self.acked = todo.split
        for instance in list(self.instances.values()):
            served_at = served_since(instance, todo.split, todo.reserve, self.now)
            self.instances[instance.instance_id] = replace(instance, served_at=served_at)
        for instance_id in todo.retire:
            self._move(self.instances[instance_id], Stage.DRAINING)
        for kill in todo.kills:
            instance = self.instances[kill.instance_id]
            if kill.failed:
                self._end(instance, kill.reason, decisive=True)
            else:
                del self.instances[kill.instance_id]
        self._write_back(observed, todo)
        return todo

    def _write_back(self, observed: Observed, todo: Plan) -> None:
        result = outcome(self.desired, observed, todo)
        self.changed = result.step_begun or result.transition in (
            Transition.ROLLS_BACK,
            Transition.FAILED,
        )
        self.desired = apply(self.desired, result, self.now)

    # -- the laws --------------------------------------------------------------------------------

    def _judge(self, observed: Observed, todo: Plan) -> None:
        by_id = {i.instance_id: i for i in observed.instances}
        if todo.split is not None:
            assert sum(share.weight for share in todo.split.shares) == 100
            keys = [(share.model_id, share.variant) for share in todo.split.shares]
            assert len(set(keys)) == len(keys)
            for share in todo.split.shares:
                for instance_id in share.endpoints:
                    instance = by_id[instance_id]
                    assert instance.stage is Stage.READY
                    assert instance.model_id == share.model_id
                    assert instance_id not in todo.retire, "retired while it gets traffic"
            self._only_who_carried_or_is_asked_to(todo.split, by_id)
        assert len(set(todo.retire)) == len(todo.retire)
        if self.desired.wanted is DesiredStatus.RUNNING and not self.desired.given_up:
            self._last_good_stays(observed, todo)
            self._within_surge(observed, todo)
            self._guard_is_obeyed(todo)
        self._kept_is_idle(todo, by_id)

    def _only_who_carried_or_is_asked_to(self, split: Split, by_id: dict[str, Instance]) -> None:
        """Traffic is for versions with a weight, and for who stands in for one without a break."""
        revisions = (self.desired.target, self.desired.serving, self.desired.live)
        known = [v for r in revisions if r for v in r.versions]
        for share in split.shares:
            for instance_id in share.endpoints if share.weight else ():
                asked = any(v.weight and v.made(by_id[instance_id]) for v in known)
                before = self.acked is not None and self.acked.carries(instance_id)
                assert asked or before

    def _last_good_stays(self, observed: Observed, todo: Plan) -> None:
        """Whoever serves keeps its strength until the next one has taken over."""
        serving, target = self.desired.serving, self.desired.target
        if todo.verdict is Verdict.BROKEN:
            assert todo.split == present_split(self.desired, observed, self.now)
            return
        if todo.split is None or serving is None or todo.percent:
            return
        flipped = todo.split.revision != serving.number
        now_serving = target if flipped else serving
        if flipped:
            assert todo.split.revision == target.number
        planning = PlanningState(self.desired, observed, self.now)

        def follows(i: Instance, slot: str) -> bool:
            makes = target.makes(i.model_id, i.fingerprint)
            return makes and target.slot_of(i) == slot

        for version in now_serving.versions:
            before = serving.in_slot(version.slot)
            had = len(planning.present.usable(serving, before)) if before else 0
            after = sum(
                1
                for share in todo.split.shares
                for i in share.endpoints
                if i not in todo.idle and now_serving.slot_of(self.instances[i]) == version.slot
            )
            if not flipped and (not version.weight or todo.percent is not None):
                # Without traffic, or by a guard, those that are to follow stand in for it.
                after = sum(
                    1
                    for i in planning.present.instances
                    if i.stage is Stage.READY
                    and (serving.slot_of(i) == version.slot or follows(i, version.slot))
                    and i.instance_id not in todo.retire
                )
            if before is not None and not (flipped and target is self.desired.live):
                assert after >= min(had, version.needed)

    def _within_surge(self, observed: Observed, todo: Plan) -> None:
        target, serving = self.desired.target, self.desired.serving
        if target.keep_former_ms or todo.split is None:
            return
        present = PlanningState(self.desired, observed, self.now).present
        flipped = serving is None or todo.split.revision == target.number != serving.number

        def takes_room(i: Instance, slot: str) -> bool:
            """What serves in another slot than the target will have it is not this one's."""
            if flipped or serving is None:
                return target.slot_of(i) == slot
            makes = (i.model_id, i.fingerprint)
            own = target.makes(*makes) and not serving.makes(*makes)
            return target.slot_of(i) == slot and (own or serving.slot_of(i) == slot)

        alive = [i for i in present.instances if i.stage is not Stage.DRAINING]
        for slot in {start.slot for start in todo.starts}:
            starts = sum(1 for start in todo.starts if start.slot == slot)
            versions = [v for r in (target, serving) if r and (v := r.in_slot(slot))]
            most = max(v.count for v in versions) + max(v.surge for v in versions)
            wanted = target.in_slot(slot)
            taken_over = todo.split.revision == target.number
            if taken_over and starts == 1 and not any(wanted and wanted.made(i) for i in alive):
                continue  # The first one died after it had taken over; without it nobody leaves.
            if not flipped and starts == 1 and self._nobody_serves(alive, slot):
                continue
            assert sum(1 for i in alive if takes_room(i, slot)) + starts <= most

    def _nobody_serves(self, alive: list[Instance], slot: str) -> bool:
        serving = self.desired.serving
        version = serving.in_slot(slot) if serving else None
        return bool(
            version
            and version.weight
            and not any(
                version.made(i) or i.served_at is not None
                for i in alive
                if serving and serving.slot_of(i) == slot
            )
        )

    def _guard_is_obeyed(self, todo: Plan) -> None:
        serving, target, step = self.desired.serving, self.desired.target, self.desired.step
        if step is None or serving is None or todo.split is None:
            return
        if serving.number == target.number or not new_versions(serving, target):
            return
        assert todo.split.revision == serving.number
        new = [s for s in todo.split.shares if s.revision == target.number and s.weight]
        assert sum(s.weight for s in new) <= step.percent + len(new)

    def _kept_is_idle(self, todo: Plan, by_id: dict[str, Instance]) -> None:
        for share in todo.split.shares if todo.split else ():
            assert not (share.weight and set(share.endpoints) & todo.idle)
        for instance_id in todo.idle:
            assert by_id[instance_id].stage is Stage.READY

    @invariant()
    def traffic_only_to_the_living(self) -> None:
        acked = getattr(self, "acked", None)
        if acked is None:
            return
        for share in acked.shares:
            for instance_id in share.endpoints:
                instance = self.instances.get(instance_id)
                assert instance is None or instance.stage is not Stage.DRAINING

    @invariant()
    def a_restart_repeats_what_was_in_force(self) -> None:
        if not hasattr(self, "desired") or self.desired.wanted is not DesiredStatus.RUNNING:
            return
        observed = Observed(tuple(self.instances.values()), self.failures)
        split = present_split(self.desired, observed, self.now)
        assert (split is None) == (self.desired.serving is None)
        if split is not None and self.desired.serving is not None:
            assert split.revision == self.desired.serving.number
            assert sum(share.weight for share in split.shares) == 100

    def _move(self, instance: Instance, stage: Stage) -> None:
        self.instances[instance.instance_id] = replace(instance, stage=stage, since=self.now)

    def _end(self, instance: Instance, message: str, *, decisive: bool) -> None:
        del self.instances[instance.instance_id]
        failure = Failure(instance.fingerprint, self.now, message, decisive)
        self.failures = (*self.failures, failure)

    def _picture(self, todo: Plan) -> str:
        lines = [f"now {self.now}", str(todo), str(self.desired.target), str(self.desired.live)]
        return "\n".join([*lines, *map(str, self.instances.values())])

    def teardown(self) -> None:
        """When nothing else goes wrong, the service comes to rest where it is wanted."""
        if not hasattr(self, "desired"):
            return
        # Failures are counted for an hour; what happens after it is another history.
        self.failures = tuple(f for f in self.failures if f.fingerprint in self.broken)
        for _ in range(150):
            todo = self.look()
            looks_again = todo.check_at is not None or self.changed
            self.now = max(self.now + 100, todo.check_at or 0)
            self._decide(Decision.CONTINUE)
            if not looks_again:
                break
            for instance in list(self.instances.values()):
                if instance.stage is Stage.DRAINING:
                    del self.instances[instance.instance_id]
                elif instance.stage is Stage.STARTING:
                    if instance.fingerprint in self.broken:
                        self._end(instance, "broken", decisive=False)
                    else:
                        self._move(instance, Stage.READY)
        if self.desired.wanted is not DesiredStatus.RUNNING or self.desired.given_up:
            assert todo.verdict is Verdict.ENDED
            assert not self.instances
        else:
            assert todo.verdict is Verdict.LIVE, self._picture(todo)
            ready = [i for i in self.instances.values() if i.stage is Stage.READY]
            wanted = sum(v.count for v in self.desired.target.versions)
            assert len(ready) - len(todo.idle) == wanted
            assert todo.split is not None
            assert todo.split.revision == self.desired.target.number
            # Nothing is left to do but to let go of what is kept.
            assert not todo.starts
            assert not todo.retire


World.TestCase.settings = settings(
    max_examples=int(os.environ.get("HISTORIES", "200")),
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
)
TestPlanner = World.TestCase
