"""What a desired state will lead to: the planner run forward in a world where all goes as assumed;
pure.

The world does what the runtime, the gateway and the loop do: instances become ready after a while,
drains end, plans are carried out, outcomes are written back. It jumps from event to event, so an
hour of a guarded rollout costs a few plans.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from modelyard.domain.canary.analysis import Decision
from modelyard.domain.rollout.backoff import not_before
from modelyard.domain.rollout.outcome import Transition, outcome
from modelyard.domain.rollout.planner import POLL_MS, Plan, Verdict, plan
from modelyard.domain.rollout.planning_state import PlanningState
from modelyard.domain.rollout.state import (
    Desired,
    DesiredStatus,
    Failure,
    Instance,
    Observed,
    Stage,
    VersionTarget,
)
from modelyard.domain.rollout.traffic_split import Split, served_since
from modelyard.domain.rollout.transition import StepDecision, apply, decide
from modelyard.domain.service.rollout_policy import Guard

LOOKS = 10_000
"""After so many plans the world is left alone, wherever it is."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """How the world behaves; durations in ms.

    ``start_ms``: from a start to readiness, by model; ``other_start_ms`` for models not listed.
    ``drain_ms``: from the end of traffic to the end of an instance, within its grace. ``guard``
    watches over the way to the target and always finds it good.
    """

    start_ms: Mapping[str, int]
    other_start_ms: int
    drain_ms: int = 200
    guard: Guard | None = None

    def start_of(self, model_id: str) -> int:
        return self.start_ms.get(model_id, self.other_start_ms)


@dataclass(frozen=True, slots=True)
class Started:
    """An instance that the world starts; named ``new-1``, ``new-2``… in the order of starts."""

    instance_id: str
    revision: int
    model_id: str
    slot: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Moment:
    """What happens at one moment, ``at`` ms after the beginning.

    ``ready`` and ``ended`` instances are noticed, then ``starts`` are made, ``split`` comes into
    force (None: nothing serves), and ``drains`` leave. ``killed``: not ready in time. ``percent``:
    the step of a guarded rollout that is in force. ``alive``: all instances there are then, and
    ``idle`` those of them that stay loaded without traffic. ``target``: the revision that is being
    reached, another one than at first after a rollback.
    """

    at: int
    ready: tuple[str, ...]
    ended: tuple[str, ...]
    starts: tuple[Started, ...]
    split: Split | None
    drains: tuple[str, ...]
    killed: tuple[str, ...]
    percent: int | None
    alive: tuple[Instance, ...]
    idle: frozenset[str]
    target: int


@dataclass(frozen=True, slots=True)
class Trace:
    """The moments at which something happens, in order; there is always a first one at 0.

    ``done_at``: ms until the desired state is reached, None: it never is. ``cause``: why it is
    rolled back or given up, if it is. ``end``: the desired state then. ``at_rest``: nothing more
    would happen.
    """

    moments: tuple[Moment, ...]
    done_at: int | None
    cause: str
    end: Desired
    at_rest: bool

    @property
    def starts(self) -> tuple[Started, ...]:
        return tuple(start for moment in self.moments for start in moment.starts)

    @property
    def drains(self) -> tuple[str, ...]:
        return tuple(one for moment in self.moments for one in moment.drains)

    def moment(self, at: int) -> Moment:
        """The state in force ``at`` ms after the beginning."""
        return [moment for moment in self.moments if moment.at <= at][-1]


def simulate(desired: Desired, observed: Observed, assumed: Assumptions, now: int) -> Trace:
    """Follow ``desired`` from ``observed`` at ``now`` (ms since 1970) until nothing happens."""
    world = _World(desired, observed, assumed, now)
    at_rest = world.run()
    return Trace(tuple(world.moments), world.done_at, world.cause, world.desired, at_rest)


class _World:
    """One service, its instances by id, and a clock of its own."""

    def __init__(
        self, desired: Desired, observed: Observed, assumed: Assumptions, now: int
    ) -> None:
        self.desired = desired
        self.moments: list[Moment] = []
        self.done_at: int | None = None
        self.cause = ""
        self._assumed = assumed
        self._began = self._now = now
        self._instances = {i.instance_id: i for i in observed.instances}
        self._failures = observed.failures
        self._count = 0
        self._known = {
            revision.number: revision
            for revision in (desired.target, desired.serving, desired.live)
            if revision is not None
        }

    def run(self) -> bool:
        """True when it has come to rest within the bound."""
        for _ in range(LOOKS):
            changed = self._look()
            upcoming = [at for at in self._events() if at > self._now]
            if changed:
                upcoming.append(self._now + POLL_MS)
            if not upcoming:
                return True
            self._now = min(upcoming)
        return False

    # -- time ------------------------------------------------------------------------------------

    def _events(self) -> Iterator[int]:
        """When something happens by itself, or may be decided otherwise than now."""
        desired, observed = self.desired, self._observed()
        for instance in observed.instances:
            if instance.stage is Stage.STARTING:
                yield self._ready_at(instance)
                yield from self._timeouts(instance)
            elif instance.stage is Stage.DRAINING:
                yield self._gone_at(instance)
        if desired.wanted is not DesiredStatus.RUNNING:
            return
        if desired.kept is not None:
            yield desired.kept.until
        for version in self._versions():
            yield not_before(version, observed)
        planning = PlanningState(desired, observed, self._now)
        proven_at = planning.proven_at() if planning.cuts_over else None
        if proven_at is not None:
            yield proven_at
        if desired.step is not None and desired.step.since is not None:
            yield self._step_ends(desired.step.since)

    def _versions(self) -> Iterable[VersionTarget]:
        for revision in (self.desired.target, self.desired.serving):
            yield from revision.versions if revision else ()

    def _timeouts(self, instance: Instance) -> Iterator[int]:
        for version in self._versions():
            if version.made(instance):
                yield instance.since + version.start_timeout_ms + 1

    def _ready_at(self, instance: Instance) -> int:
        # What runs late already is assumed to be about to come.
        usual = instance.since + self._assumed.start_of(instance.model_id)
        return max(usual, self._began + POLL_MS)

    def _gone_at(self, instance: Instance) -> int:
        usual = instance.since + min(self._assumed.drain_ms, instance.grace_ms)
        return max(usual, self._began + POLL_MS)

    def _step_ends(self, since: int) -> int:
        guard = self._assumed.guard
        return since + (guard.hold_s * 1000 if guard else 0)

    # -- one pass --------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Do what a pass does; True when it changed anything."""
        ready, ended = self._notice()
        self._step_on()
        before, observed = self.desired, self._observed()
        todo = plan(before, observed, self._now)
        starts = self._start(todo)
        self._carry(todo)
        drains, killed = self._let_go(todo)
        self._write_back(observed, todo)
        happened = bool(ready or ended or starts or drains or killed)
        last = self.moments[-1] if self.moments else None
        moved = last is not None and todo.split != last.split
        changed = happened or moved or self.desired != before
        if last is None or changed:
            moment = Moment(
                at=self._now - self._began,
                ready=ready,
                ended=ended,
                starts=starts,
                split=todo.split,
                drains=drains,
                killed=killed,
                percent=todo.percent,
                alive=tuple(self._instances.values()),
                idle=todo.idle,
                target=before.target.number,
            )
            self.moments.append(moment)
        return changed

    def _observed(self) -> Observed:
        return Observed(tuple(self._instances.values()), self._failures)

    def _notice(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        ready, ended = [], []
        for instance in tuple(self._instances.values()):
            if instance.stage is Stage.STARTING and self._ready_at(instance) <= self._now:
                self._move(instance, Stage.READY)
                ready.append(instance.instance_id)
            elif instance.stage is Stage.DRAINING and self._gone_at(instance) <= self._now:
                del self._instances[instance.instance_id]
                ended.append(instance.instance_id)
        return tuple(ready), tuple(ended)

    def _step_on(self) -> None:
        """Let the canary analysis find its step good once it has lasted long enough."""
        step = self.desired.step
        if self._assumed.guard is None or step is None or step.since is None:
            return
        if self._now >= self._step_ends(step.since):
            good = StepDecision(Decision.CONTINUE, "as assumed")
            self.desired = decide(self.desired, good, self._now)

    def _start(self, todo: Plan) -> tuple[Started, ...]:
        made = []
        for start in todo.starts:
            self._count += 1
            name = f"new-{self._count}"
            made.append(
                Started(name, start.revision, start.model_id, start.slot, start.fingerprint)
            )
            version = self._known[start.revision].version(start.model_id)
            assert version is not None
            self._instances[name] = Instance(
                name,
                start.model_id,
                start.slot,
                start.fingerprint,
                Stage.STARTING,
                created_at=self._now,
                since=self._now,
                grace_ms=version.grace_ms,
            )
        return tuple(made)

    def _carry(self, todo: Plan) -> None:
        for instance in tuple(self._instances.values()):
            served_at = served_since(instance, todo.split, todo.reserve, self._now)
            self._instances[instance.instance_id] = replace(instance, served_at=served_at)

    def _let_go(self, todo: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
        for instance_id in todo.retire:
            self._move(self._instances[instance_id], Stage.DRAINING)
        for kill in todo.kills:
            instance = self._instances.pop(kill.instance_id)
            if kill.failed:
                failure = Failure(instance.fingerprint, self._now, kill.reason, decisive=True)
                self._failures = (*self._failures, failure)
        return todo.retire, tuple(kill.instance_id for kill in todo.kills)

    def _move(self, instance: Instance, stage: Stage) -> None:
        self._instances[instance.instance_id] = replace(instance, stage=stage, since=self._now)

    # -- the outcome -----------------------------------------------------------------------------

    def _write_back(self, observed: Observed, todo: Plan) -> None:
        result = outcome(self.desired, observed, todo)
        self.desired = apply(self.desired, result, self._now)
        self.cause = self.cause or result.cause
        completed = result.transition in (Transition.COMPLETED, Transition.ENDED)
        if (completed or todo.verdict is Verdict.LIVE) and self.done_at is None and not self.cause:
            self.done_at = self._now - self._began
