"""Reconcile a batch service's runs and their drivers, in the place of traffic.

The split of the plan is the list of instances that the driver may send to. Everything here depends
only on what is true now, so that the next reconcile continues one that was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelyard.control.batch.runs import end_service, mapping_of, run_limits, run_spec
from modelyard.control.ports import Drivers
from modelyard.domain.batch.progress import (
    counts,
    from_json,
    milestone,
    percent,
    work_done,
)
from modelyard.domain.batch.run import Address, DriverReport, Progress, RunLimits, RunOutcome
from modelyard.domain.rollout.planner import Plan, Verdict
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.rollout.traffic_split import Split
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.text import storable_text
from modelyard.settings import Settings
from modelyard.store import batch_runs as store
from modelyard.store import events
from modelyard.store.database import Session
from modelyard.store.service.services import get_revision
from modelyard.store.service.state import ServiceState
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.service import Service

POLL_MS = 1_000
"""How often the progress of a run is written down."""
ENDING_POLL_MS = 500
GRACE_MS = 15_000
"""How long a driver may take to checkpoint before it is killed."""

_LOST = "3501"


@dataclass(slots=True)
class Runs:
    """The runs that are not closed, as one reconcile finds them.

    ``started``: runs whose driver it started; ``refused``: runs whose driver could not be started,
    and why.
    """

    drivers: Drivers
    limits: RunLimits
    state: ServiceState
    reports: Mapping[str, DriverReport]
    started: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)

    def hold(self, todo: Plan, now: int) -> Plan:
        """Return ``todo``, with the service's end postponed until its runs' drivers have ended."""
        alive = any(report.alive for report in self.reports.values())
        if todo.verdict is not Verdict.ENDED or not alive:
            return todo
        return replace(todo, verdict=Verdict.PROGRESSING, check_at=now + ENDING_POLL_MS)

    async def carry_out(
        self, split: Split | None, addresses: Mapping[str, tuple[str, int]], now: int
    ) -> None:
        """Point the driver to the instances of ``split``, start one that is due, end what is over.

        Call it before instances that left the split are drained.
        """
        serves = split is not None and self._goes_on(self.state.service)
        for run in self.state.runs:
            report = self.reports[run.task_id]
            if run.outcome != RunOutcome.OPEN.value:
                await self._wind_down(run, report, now)
            elif serves or report.alive:
                usable = list(_usable(self.state, run, split, addresses))
                try:
                    await self._work(run, report, usable, serves, now)
                except OSError as error:
                    self.refused[run.task_id] = str(error)

    async def note(self, session: Session, service: Service, now: int) -> int | None:
        """Write what was seen and done; returns when to reconcile again (ms), or None.

        These are facts: they are written even when the desired state has changed meanwhile.
        """
        moments: list[int | None] = []
        for run in await store.unclosed_runs(session, service.id):
            report = self.reports.get(run.task_id)
            if report is None:  # Begun after this reconcile has looked.
                moments.append(now)
            elif run.outcome == RunOutcome.OPEN.value:
                moments.append(await self._note_open(session, service, run, report, now))
            elif run.task_id in self.started:  # Ended by a caller just when its driver was started.
                moments.append(now)
            else:
                moments.append(_note_over(run, report, now))
        return min((at for at in moments if at is not None), default=None)

    def _goes_on(self, service: Service) -> bool:
        return service.wanted == DesiredStatus.RUNNING.value and not service.given_up

    async def _wind_down(self, run: BatchRun, report: DriverReport, now: int) -> None:
        if report.alive:
            late = now > (run.finished_at or now) + GRACE_MS
            await self.drivers.end(run.task_id, at_once=late)
        elif report.result is None and run.outcome != RunOutcome.FAILED.value:
            # It will not be continued, and it has no failure to look into.
            await self.drivers.remove(run.task_id)

    async def _work(
        self,
        run: BatchRun,
        report: DriverReport,
        usable: Sequence[Address],
        serves: bool,
        now: int,
    ) -> None:
        """Raises ``OSError`` when the folder or the process cannot be made."""
        config = self.state.revisions[run.revision].config[0]
        await self.drivers.prepare(run_spec(run, self.state.service, config, self.limits))
        await self.drivers.point(run.task_id, usable)
        due = store.driver_of(run).seen(report.alive, now).due
        if serves and not report.alive and report.result is None and now >= due:
            await self.drivers.start(run.task_id)
            self.started.add(run.task_id)

    async def _note_open(
        self,
        session: Session,
        service: Service,
        run: BatchRun,
        report: DriverReport,
        now: int,
    ) -> int | None:
        alive = report.alive or run.task_id in self.started
        lost = run.driver_since is not None and not report.alive and report.result is None
        driver = store.driver_of(run)
        if report.progress is not None:
            driver = driver.after(from_json(run.progress), report.progress)
        after = driver.seen(report.alive, now).seen(alive, now)
        store.write_driver(run, after)
        if alive and store.mark_started(run, now):
            events.record(session, service.id, f"batch task {run.task_id} started", now)
        if report.progress is not None:
            await _report_progress(session, service, run, report.progress, now)
        if report.result is not None:
            return now
        refused = self.refused.get(run.task_id, "")
        if lost or refused:
            why = refused or self.drivers.log_tail(run.task_id) or "it exited without a message"
            info = storable_text(f"the driver of batch task {run.task_id} was lost: {why}")
            events.record(session, service.id, info, now, events.ABNORMAL)
            if lost and after.hopeless and self._goes_on(service):
                reason = f"{info} ({after.losses} times in a row)"
                store.end_run(run, RunOutcome.FAILED, reason, now, _LOST)
                await end_service(session, service, run, now)
                return now
        if alive or refused:
            return now + POLL_MS
        # Without a driver that is due later it waits for instances, which the plan starts.
        return after.due if after.due > now else None


def look(drivers: Drivers, settings: Settings, state: ServiceState) -> Runs | None:
    """Look at the runs of a batch service; None for any other."""
    if state.service.infer_type != BATCH:
        return None
    reports = {run.task_id: drivers.report(run.task_id) for run in state.runs}
    return Runs(drivers, run_limits(settings), state, reports)


def _usable(
    state: ServiceState,
    run: BatchRun,
    split: Split | None,
    addresses: Mapping[str, tuple[str, int]],
) -> Iterator[Address]:
    """Find the instances that may work on a run: of its revision or a later one, or equal."""
    fingerprint = state.revisions[run.revision].config[0].fingerprint
    for instance_id in sorted(state.rows):
        row = state.rows[instance_id]
        usable = row.revision >= run.revision or row.fingerprint == fingerprint
        if usable and split is not None and split.carries(instance_id) and instance_id in addresses:
            yield Address(instance_id, *addresses[instance_id])


def _note_over(run: BatchRun, report: DriverReport, now: int) -> int | None:
    if report.progress is not None and report.result is None:
        store.write_progress(run, report.progress)
    if report.alive:
        return now + ENDING_POLL_MS
    if report.result is not None:
        store.write_result(run, report.result, now)
    # Only what was computed to the end has failures that can be computed again.
    store.close_run(run, now, kept=report.result is not None)
    return None


async def _report_progress(
    session: Session, service: Service, run: BatchRun, progress: Progress, now: int
) -> None:
    """Write the driver's progress, and report a milestone that it passed.

    A driver that went back to a checkpoint is not reported: the same progress would come twice.
    """
    if work_done(progress) < work_done(from_json(run.progress)):
        return
    mapping = mapping_of((await get_revision(session, service.id, run.revision)).config)
    before = percent(from_json(run.progress), RunOutcome.OPEN, mapping)
    after = percent(progress, RunOutcome.OPEN, mapping)
    store.write_progress(run, progress)
    mark = milestone(before, after)
    if mark is not None:
        info = f"batch task {run.task_id}: {mark} % done, {counts(progress, mapping)}"
        events.record(session, service.id, info, now)
