"""Reconcile one service: read, observe, plan, act, write back the outcome.

Nothing here waits inside a database transaction, and every step may be repeated: the next
reconcile, which depends only on what is true now, continues one that died anywhere.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from modelyard.clock import Clock
from modelyard.control.batch import runs_reconcile
from modelyard.control.batch.runs import end_when_over
from modelyard.control.check_scripts import Checks
from modelyard.control.ports import Drivers, Gateway, Requests, Runtime
from modelyard.control.reconciler import canary_step
from modelyard.control.reconciler.auto_stop import stop_when_due
from modelyard.control.reconciler.canary_step import guarded_step
from modelyard.control.reconciler.instance_specs import instance_spec
from modelyard.control.reconciler.traffic import traffic_of
from modelyard.control.reconciler.write_back import ExecutedPlan, write_back
from modelyard.domain.canary.analysis import Decision
from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec, Phase
from modelyard.domain.rollout.observe import Ended, Observation, observe, with_log
from modelyard.domain.rollout.planner import Plan, Verdict, plan
from modelyard.domain.rollout.scale_up import Start
from modelyard.domain.rollout.state import (
    Desired,
    DesiredStatus,
    Observed,
    Stage,
    VersionTarget,
)
from modelyard.domain.rollout.traffic_split import served_since, split_of
from modelyard.domain.rollout.transition import StepDecision, decide
from modelyard.domain.text import storable_text
from modelyard.errors import GatewayTimeout, InternalFailure
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store import events
from modelyard.store.database import Database, no_autoflush
from modelyard.store.service import instances as instance_store
from modelyard.store.service import leases
from modelyard.store.service.services import service_exists
from modelyard.store.service.state import ServiceState, load_state

log = structlog.get_logger(__name__)

BUSY_RETRY_MS = 200
LOG_LINES = 10
"""Last lines of a failed instance's log that are reported with its cause."""
GATEWAY_RETRY_MS = 1_000


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reconcile works with. ``node``: 8 hex digits that name this control plane's home."""

    settings: Settings
    database: Database
    clock: Clock
    runtime: Runtime
    gateway: Gateway
    requests: Requests
    checks: Checks
    drivers: Drivers
    node: str = "00000000"


async def reconcile(parts: Parts, service_id: str) -> int | None:
    """Bring the service one step nearer to its desired state.

    Returns when to reconcile again (ms), or None. Safe to call at any time and twice: a service
    whose lease is held elsewhere is left alone.
    """
    token = leases.new_token(parts.node, uuid.uuid4().hex)
    now = parts.clock.now_ms()
    async with parts.database.write(Step.PASS_LEASE) as session:
        service = await leases.take(session, service_id, token, now)
        if service is None:
            exists = await service_exists(session, service_id)
            return now + BUSY_RETRY_MS if exists else None
        await stop_when_due(session, service, now)
        await end_when_over(session, service, parts.drivers, now)
        state = await load_state(session, service, now)
    this = _Reconcile(parts, service_id, token)
    try:
        return await this.run(state, now)
    except leases.LeaseLostError:
        log.warning("lease lost", service_id=service_id)
        return parts.clock.now_ms() + BUSY_RETRY_MS
    except GatewayTimeout as error:
        log.warning("gateway does not answer", service_id=service_id, reason=error.message)
        return parts.clock.now_ms() + GATEWAY_RETRY_MS
    finally:
        # Also on errors and cancellation: the next one should not wait for the lease to expire.
        if not this.released:
            async with parts.database.write(Step.PASS_RELEASE) as session:
                await leases.release(session, service_id, token)


class _Reconcile:
    """The steps of one reconcile, in their order."""

    def __init__(self, parts: Parts, service_id: str, token: str) -> None:
        self._parts = parts
        self._service_id = service_id
        self._token = token
        self.released = False

    async def run(self, state: ServiceState, now: int) -> int | None:
        """``state`` as it was at ``now`` (ms), under our lease."""
        reports = await self._probe(state)
        seen = self._with_log_tails(observe(state.instances, reports, now))
        failures = (*state.failures, *(e.failure for e in seen.ended if e.failure))
        observed = Observed(seen.alive, failures)
        look = await self._look_at_guarded_step(state, now)
        runs = runs_reconcile.look(self._parts.drivers, self._parts.settings, state)
        desired = _desired(state, self._parts.settings, look, now)
        todo = self._with_log_tails_of_kills(plan(desired, observed, now))
        todo = runs.hold(todo, now) if runs else todo
        specs = {str(uuid.uuid4()): start for start in todo.starts}
        await self._record(state, seen, specs, reports, now)
        await self._clean_up(seen)
        await self._start(state, specs)
        published = ""
        try:
            published = await self._publish(state, todo, reports, runs)
        except InternalFailure as refusal:
            todo = _refused(desired, observed, refusal)
        done = ExecutedPlan(state, desired, observed, todo, look, published, runs)
        check_at = await self._write_back(done)
        await self._drain_and_stop(observed, todo, reports)
        return check_at

    async def _look_at_guarded_step(self, state: ServiceState, now: int) -> StepDecision | None:
        step = guarded_step(state)
        if step is None or state.desired.wanted is not DesiredStatus.RUNNING:
            return None
        return await canary_step.look(self._parts.requests, self._parts.checks, step, now)

    def _with_log_tails(self, seen: Observation) -> Observation:
        """Add the last lines of the instance's log to each failure: the cause is often there."""
        return replace(seen, ended=tuple(self._with_log_tail(ended) for ended in seen.ended))

    def _with_log_tail(self, ended: Ended) -> Ended:
        if ended.failure is None:
            return ended
        tail = self._log_tail(ended.instance.instance_id)
        message = with_log(ended.failure.message, tail)
        return replace(ended, failure=replace(ended.failure, message=message))

    def _with_log_tails_of_kills(self, todo: Plan) -> Plan:
        return replace(
            todo,
            kills=tuple(
                replace(kill, reason=with_log(kill.reason, self._log_tail(kill.instance_id)))
                if kill.failed
                else kill
                for kill in todo.kills
            ),
        )

    def _log_tail(self, instance_id: str) -> str:
        return self._parts.runtime.log_tail(instance_id, LOG_LINES)

    async def _probe(self, state: ServiceState) -> Mapping[str, InstanceReport | None]:
        ids = list(state.rows)
        reports = await asyncio.gather(*(self._parts.runtime.probe(i) for i in ids))
        return dict(zip(ids, reports, strict=True))

    async def _record(
        self,
        state: ServiceState,
        seen: Observation,
        starts: Mapping[str, Start],
        reports: Mapping[str, InstanceReport | None],
        now: int,
    ) -> None:
        """Write what was observed, and what is about to start before it does."""
        changed = [i for i in seen.alive if i.stage is not Stage(state.rows[i.instance_id].stage)]
        if not (changed or seen.ended or starts):
            return
        async with self._parts.database.write(Step.PASS_RECORD) as session:
            await leases.hold(session, self._service_id, self._token, now)
            for instance in changed:
                report = reports[instance.instance_id]
                await instance_store.record_progress(session, instance, report)
                if instance.stage is Stage.READY:
                    info = f"{_label(state, instance.model_id)} instance is ready"
                    events.record(session, self._service_id, info, now)
            for ended in seen.ended:
                failed = ended.failure is not None
                message = ended.failure.message if ended.failure else ""
                await instance_store.record_end(
                    session, ended.instance.instance_id, now, message, failed=failed
                )
                if failed:
                    info = f"{_label(state, ended.instance.model_id)} instance ended: {message}"
                    events.record(session, self._service_id, info, now, events.ABNORMAL)
            for instance_id, start in starts.items():
                grace_ms = _version(state, start).grace_ms
                instance_store.record_start(
                    session, self._service_id, instance_id, start, grace_ms, now
                )
                info = f"{_label(state, start.model_id)} starting model"
                events.record(session, self._service_id, info, now)

    async def _clean_up(self, seen: Observation) -> None:
        await asyncio.gather(
            *(self._parts.runtime.stop(e.instance.instance_id) for e in seen.ended)
        )

    async def _start(self, state: ServiceState, starts: Mapping[str, Start]) -> None:
        specs = [
            instance_spec(state, instance_id, start, self._parts.settings)
            for instance_id, start in starts.items()
        ]
        await asyncio.gather(*(self._start_one(spec) for spec in specs))

    async def _start_one(self, spec: InstanceSpec) -> None:
        try:
            await self._parts.runtime.start(spec)
        except OSError as error:
            now = self._parts.clock.now_ms()
            async with self._parts.database.write(Step.PASS_START_FAILED) as session:
                await leases.hold(session, self._service_id, self._token, now)
                message = storable_text(f"cannot start an instance: {error}")
                await instance_store.record_end(
                    session, spec.instance_id, now, message, failed=True
                )
                events.record(session, self._service_id, message, now, events.ABNORMAL)

    async def _publish(
        self,
        state: ServiceState,
        todo: Plan,
        reports: Mapping[str, InstanceReport | None],
        runs: runs_reconcile.Runs | None,
    ) -> str:
        """Return the routing version that the gateway acknowledged; a batch service has none."""
        addresses = {
            instance_id: (report.host, report.port)
            for instance_id, report in reports.items()
            if report and report.port
        }
        if runs is not None:
            await runs.carry_out(todo.split, addresses, self._parts.clock.now_ms())
            return ""
        if state.service.wanted == DesiredStatus.DELETED.value:
            await self._parts.gateway.withdraw(self._service_id)
            return ""
        traffic = traffic_of(state, todo.split, addresses, self._parts.settings)
        return await self._parts.gateway.publish(traffic)

    async def _write_back(self, done: ExecutedPlan) -> int | None:
        now, todo, observed = self._parts.clock.now_ms(), done.todo, done.observed
        async with self._parts.database.write(Step.PASS_SETTLE) as session:
            service = await leases.held(session, self._service_id, self._token)
            for instance_id in todo.retire:
                await instance_store.mark_draining(session, instance_id, now)
            for kill in todo.kills:
                events.record(
                    session,
                    self._service_id,
                    f"instance {kill.instance_id} is ended: {kill.reason}",
                    now,
                    events.ABNORMAL,
                )
                await instance_store.record_end(
                    session,
                    kill.instance_id,
                    now,
                    kill.reason,
                    failed=kill.failed,
                    decisive=kill.failed,
                )
            for instance in observed.instances:
                served_at = served_since(instance, todo.split, todo.reserve, now)
                if served_at != instance.served_at:
                    await instance_store.record_served_at(session, instance.instance_id, served_at)
            # Written at the end in one go, the end of the lease with it.
            with no_autoflush(session):
                check_at = await write_back(session, service, done, now)
            leases.end(service)
        self.released = True
        return check_at

    async def _drain_and_stop(
        self,
        observed: Observed,
        todo: Plan,
        reports: Mapping[str, InstanceReport | None],
    ) -> None:
        """Drain and stop instances, now that Envoy does not know them any more."""
        unasked = {
            i.instance_id
            for i in observed.instances
            if i.stage is Stage.DRAINING
            and (report := reports.get(i.instance_id))
            and report.phase is not Phase.DRAINING
        }
        to_drain = (*todo.retire, *sorted(unasked))
        await asyncio.gather(*(self._parts.runtime.drain(i) for i in to_drain))
        await asyncio.gather(*(self._parts.runtime.stop(k.instance_id) for k in todo.kills))


def _label(state: ServiceState, model_id: str) -> str:
    model = state.models.get(model_id)
    return f"[{model.name} {model.version}]" if model else f"[{model_id}]"


def _desired(
    state: ServiceState, settings: Settings, look: StepDecision | None, now: int
) -> Desired:
    """The desired state under this platform's settings, rejected where the analysis just did so."""
    desired = state.desired_under(settings.rollout.probation, settings.rollout.restart_budget)
    rejects = look is not None and look.decision is Decision.ROLL_BACK
    return decide(desired, look, now) if look is not None and rejects else desired


def _version(state: ServiceState, start: Start) -> VersionTarget:
    version = state.target(start.revision).version(start.model_id)
    assert version is not None
    return version


def _refused(desired: Desired, observed: Observed, refusal: InternalFailure) -> Plan:
    """What to do when the gateway refuses a split: as with a version that does not start.

    Raises the refusal when there is nothing to go back to; the loop tries again later.
    """
    if desired.live is None or desired.live.number == desired.target.number:
        raise refusal
    split = split_of(desired.serving, observed)
    return Plan(split=split, verdict=Verdict.BROKEN, cause=refusal.message)
