"""Laws of the planner, over histories of updates, crashes and slow starts in any order.

The machine below is a small world: a runtime whose instances become ready, fail or die when
Hypothesis says so, and a loop that carries out plans the way the real one does.
"""

from __future__ import annotations

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

from modelyard.domain.observed import (
    Desired,
    Failure,
    Instance,
    Observed,
    RevisionTarget,
    Split,
    Stage,
    VersionTarget,
    Wanted,
)
from modelyard.domain.outcome import Turn, outcome
from modelyard.domain.planner import Plan, Verdict, plan

MODELS = ("a", "b", "c")


@st.composite
def revisions(draw: st.DrawFn) -> tuple[VersionTarget, ...]:
    models = draw(st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(models) - 1, max_size=2)))
    cuts = [0, *cuts[: len(models) - 1], 100]
    return tuple(
        VersionTarget(
            model_id=model,
            fingerprint=f"{model}-{draw(st.integers(1, 2))}",
            count=draw(st.integers(1, 3)),
            weight=cuts[i + 1] - cuts[i],
            max_surge=draw(st.sampled_from((1.0, 2.0, 0.5))),
            max_unavailable=draw(st.sampled_from((0.0, 1.0, 0.34))),
            start_timeout_ms=60_000,
        )
        for i, model in enumerate(models)
    )


class World(RuleBasedStateMachine):
    """One service from its creation on."""

    @initialize(versions=revisions())
    def create(self, versions: tuple[VersionTarget, ...]) -> None:
        self.now = 1_000_000
        self.numbers = 1
        self.counter = 0
        self.instances: dict[str, Instance] = {}
        self.failures: tuple[Failure, ...] = ()
        self.broken: set[str] = set()
        self.acked: Split | None = None
        self.desired = Desired(
            Wanted.RUNNING, RevisionTarget(1, versions), None, None, since=self.now
        )

    # -- what happens to the service -----------------------------------------------------------

    @rule(versions=revisions())
    def update(self, versions: tuple[VersionTarget, ...]) -> None:
        if self.desired.wanted is Wanted.STOPPED:
            return
        self.numbers += 1
        self.desired = replace(
            self.desired,
            target=RevisionTarget(self.numbers, versions),
            since=self.now,
            given_up=False,
        )

    @rule()
    def stop(self) -> None:
        self.desired = replace(self.desired, wanted=Wanted.STOPPED, given_up=False)

    @precondition(lambda self: not self.instances)
    @rule()
    def start(self) -> None:
        self.desired = replace(self.desired, wanted=Wanted.RUNNING, since=self.now, given_up=False)

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

    @rule(model=st.sampled_from(MODELS), made=st.integers(1, 2))
    def turns_out_broken(self, model: str, made: int) -> None:
        live = self.desired.live
        proven = {v.fingerprint for v in live.versions} if live else set()
        proven |= {i.fingerprint for i in self.instances.values() if i.stage is Stage.READY}
        if f"{model}-{made}" not in proven:
            self.broken.add(f"{model}-{made}")

    @rule(ms=st.sampled_from((10, 600, 70_000)))
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
                start.fingerprint,
                Stage.STARTING,
                created_at=self.now,
                since=self.now,
            )
        self.acked = todo.split
        for ids in todo.split.endpoints.values() if todo.split else ():
            for instance_id in ids:
                instance = self.instances[instance_id]
                self.instances[instance_id] = replace(instance, served=True)
        for instance_id in todo.retire:
            self._move(self.instances[instance_id], Stage.DRAINING)
        for kill in todo.kills:
            instance = self.instances[kill.instance_id]
            if kill.failed:
                self._end(instance, kill.reason, decisive=True)
            else:
                del self.instances[kill.instance_id]
        self._settle(observed, todo)
        return todo

    def _settle(self, observed: Observed, todo: Plan) -> None:
        result = outcome(self.desired, observed, todo)
        known = (self.desired.target, self.desired.serving, self.desired.live)
        by_number = {r.number: r for r in known if r}
        self.desired = replace(
            self.desired,
            serving=by_number.get(result.serving) if result.serving else None,
            live=by_number.get(result.live) if result.live else None,
        )
        if result.turn is Turn.ROLLS_BACK:
            assert self.desired.live
            self.desired = replace(self.desired, target=self.desired.live, since=self.now)
        if result.turn is Turn.GIVES_UP:
            self.desired = replace(self.desired, given_up=True)

    def _judge(self, observed: Observed, todo: Plan) -> None:
        by_id = {i.instance_id: i for i in observed.instances}
        if todo.split is not None:
            assert sum(todo.split.weights.values()) == 100
            for model_id, ids in todo.split.endpoints.items():
                for instance_id in ids:
                    assert by_id[instance_id].stage is Stage.READY
                    assert by_id[instance_id].model_id == model_id
                    assert instance_id not in todo.retire, "retired while it gets traffic"
            self._only_what_is_proven_or_asked_for(todo.split, by_id)
        assert len(set(todo.retire)) == len(todo.retire)
        if self.desired.wanted is Wanted.RUNNING and not self.desired.given_up:
            self._last_good_stays(observed, todo)
            self._within_surge(observed, todo)

    def _only_what_is_proven_or_asked_for(self, split: Split, by_id: dict[str, Instance]) -> None:
        known = (self.desired.target, self.desired.serving)
        revision = next(r for r in known if r and r.number == split.revision)
        for model_id, ids in split.endpoints.items():
            version = revision.version(model_id)
            assert version is not None
            for instance_id in ids:
                instance = by_id[instance_id]
                assert instance.served or instance.fingerprint == version.fingerprint

    def _last_good_stays(self, observed: Observed, todo: Plan) -> None:
        """Whoever serves keeps its strength until the next one has taken over."""
        if todo.split is None or self.desired.serving is None:
            return
        flipped = todo.split.revision != self.desired.serving.number
        if flipped:
            assert todo.split.revision == self.desired.target.number
        serving = self.desired.target if flipped else self.desired.serving
        for version in serving.versions:
            old = self.desired.serving.version(version.model_id)
            before = len(observed.usable(old)) if old else 0
            after = len(todo.split.endpoints.get(version.model_id, ()))
            assert after >= min(before, version.needed)
            if flipped and (old is None or version.count > old.count):
                assert after >= version.needed
            if flipped and old and old.fingerprint != version.fingerprint:
                ready = observed.of(version.model_id, Stage.READY)
                assert any(i.fingerprint == version.fingerprint for i in ready)

    def _within_surge(self, observed: Observed, todo: Plan) -> None:
        revisions_now = [r for r in (self.desired.target, self.desired.serving) if r]
        for model_id in MODELS:
            starts = sum(1 for s in todo.starts if s.model_id == model_id)
            if not starts:
                continue
            alive = len(observed.of(model_id, Stage.STARTING, Stage.READY))
            versions = [v for r in revisions_now if (v := r.version(model_id))]
            assert alive + starts <= max(v.count for v in versions) + max(v.surge for v in versions)

    @invariant()
    def traffic_only_to_the_living(self) -> None:
        acked = getattr(self, "acked", None)
        if acked is None:
            return
        for ids in acked.endpoints.values():
            for instance_id in ids:
                instance = self.instances.get(instance_id)
                assert instance is None or instance.stage is not Stage.DRAINING

    def _move(self, instance: Instance, stage: Stage) -> None:
        self.instances[instance.instance_id] = replace(instance, stage=stage, since=self.now)

    def _end(self, instance: Instance, message: str, *, decisive: bool) -> None:
        del self.instances[instance.instance_id]
        failure = Failure(instance.fingerprint, self.now, message, decisive)
        self.failures = (*self.failures, failure)

    def teardown(self) -> None:
        """When nothing else goes wrong, the service comes to rest where it is wanted."""
        if not hasattr(self, "desired"):
            return
        for _ in range(60):
            todo = self.look()
            self.now += 61_000 if todo.check_at and todo.check_at - self.now > 1_000 else 100
            for instance in list(self.instances.values()):
                if instance.stage is Stage.DRAINING:
                    del self.instances[instance.instance_id]
                elif instance.stage is Stage.STARTING:
                    if instance.fingerprint in self.broken:
                        self._end(instance, "broken", decisive=False)
                    else:
                        self._move(instance, Stage.READY)
        todo = self.look()
        if self.desired.wanted is not Wanted.RUNNING or self.desired.given_up:
            assert todo.verdict is Verdict.ENDED
            assert not self.instances
        else:
            assert todo.verdict is Verdict.LIVE
            ready = [i for i in self.instances.values() if i.stage is Stage.READY]
            assert len(ready) == sum(v.count for v in self.desired.target.versions)
            assert todo.split is not None
            assert todo.split.revision == self.desired.target.number


World.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestPlanner = World.TestCase
