"""Writing down what becomes of the runs of a batch service (inference.md §2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from modelyard.control import events
from modelyard.control.ports import Drivers
from modelyard.domain.batch.progress import counts, from_json
from modelyard.domain.batch.run import RunLimits, RunOutcome, RunSpec, draft_spec
from modelyard.domain.rollout.outcome import Result
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.batch_job import BATCH, BatchJob
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.lifecycle import Status
from modelyard.settings import Settings
from modelyard.store import batch_runs as store
from modelyard.store.database import Session
from modelyard.store.service.services import get_revision
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.service import Service


def begin_run(session: Session, service: Service, now: int, retry_of: str = "") -> None:
    """Begin a run of the desired revision."""
    store.begin_run(session, service.id, service.desired_revision, now, retry_of)


async def abandon_run(
    session: Session, service: Service, outcome: RunOutcome, reason: str, now: int
) -> None:
    """End the run that goes on, if one does, without asking how far it is."""
    run = await store.open_run(session, service.id) if service.infer_type == BATCH else None
    if run is not None:
        store.end_run(run, outcome, reason, now)


async def continue_or_renew(
    session: Session, service: Service, config: Sequence[VersionConfig], now: int
) -> bool:
    """Whether the run goes on under ``config``, the new desired revision; else a new one begins.

    It goes on when only its instances change: their number, flavour or environment.
    """
    run = await store.open_run(session, service.id)
    if run is not None:
        begun = await get_revision(session, service.id, run.revision)
        if work_of(begun.config) == work_of(config):
            return True
        told = f"batch task {run.task_id} is abandoned: the update begins a new one"
        events.event(session, service.id, told, now)
    await abandon_run(session, service, RunOutcome.REPLACED, "a later update took its place", now)
    # The instances that are there belong to it only where they are made alike.
    service.serving_revision = service.live_revision = None
    begin_run(session, service, now)
    return False


def work_of(config: Sequence[VersionConfig]) -> tuple[str, BatchJob | None]:
    """What a run of that configuration computes, whatever it runs on."""
    return config[0].model_id, config[0].batch


async def end_when_over(session: Session, service: Service, drivers: Drivers, now: int) -> None:
    """Turn what a driver has come to into the end of the service's run, exactly once."""
    if (
        service.infer_type != BATCH
        or service.wanted != DesiredStatus.RUNNING.value
        or service.given_up
    ):
        return
    run = await store.open_run(session, service.id)
    result = drivers.report(run.task_id).result if run is not None else None
    if run is None or result is None:
        return
    store.write_result(run, result, now)
    await end_service(session, service, run, now)


async def end_service(session: Session, service: Service, run: BatchRun, now: int) -> None:
    """The service is finished, or failed with the run's reason; its instances may go."""
    finished = run.outcome == RunOutcome.FINISHED.value
    service.given_up = True
    service.due_time = None
    service.status = (Status.FINISHED if finished else Status.FAILED).value
    service.error_msg = "" if finished else run.reason
    service.transition_at = now
    service.generation += 1
    closed = Result.SUCCESS if finished else Result.FAIL
    for log in await events.close_logs(session, service.id, closed, now, service.error_msg):
        if finished:
            service.update_time = log.update_time
    await events.finish_rollbacks(session, service.id, now)
    if not finished:
        told = f"batch failed: task {run.task_id}: {run.reason}"
        events.event(session, service.id, told, now, events.ABNORMAL)
        return
    config = (await get_revision(session, service.id, run.revision)).config
    done = counts(from_json(run.progress), mapping_of(config))
    told = f"batch executed: task {run.task_id}, {done}"
    if run.quarantine:
        told += f"; what failed is listed in {run.quarantine}"
    events.event(session, service.id, told, now)


def mapping_of(config: Sequence[VersionConfig]) -> str:
    """``file`` or ``csv``."""
    job = config[0].batch
    return job.mapping_type if job else ""


def run_spec(run: BatchRun, service: Service, config: VersionConfig, limits: RunLimits) -> RunSpec:
    """Return what the driver of ``run`` reads."""
    assert config.batch is not None
    draft = draft_spec(config.batch, service.project_id, config.model_id, limits)
    return replace(draft, task_id=run.task_id, service_id=service.id, retry_of=run.retry_of)


def run_limits(settings: Settings) -> RunLimits:
    """Return what this platform allows every run."""
    return RunLimits(
        file_limit=settings.batch.batch_file_limit,
        csv_limit=settings.batch.batch_csv_limit,
        request_timeout_s=settings.predictions.prediction_timeout,
        attempts=settings.batch.batch_attempts,
        manifest_lines=settings.batch.batch_manifest_lines,
    )
