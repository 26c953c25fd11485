"""Writing down what becomes of the runs of a batch service (inference.md §2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from modelyard.control.ports import Drivers
from modelyard.domain.batch.progress import counts, from_json
from modelyard.domain.batch.run import RunLimits, RunOutcome, RunSpec, draft_spec
from modelyard.domain.rollout.outcome import Result, run_outcome
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.rollout.transition import apply
from modelyard.domain.service.batch_job import BATCH, BatchJob
from modelyard.domain.service.config import VersionConfig
from modelyard.settings import Settings
from modelyard.store import batch_runs as store
from modelyard.store import events
from modelyard.store.database import Session
from modelyard.store.service import update_logs
from modelyard.store.service.desired import read_desired, write_desired
from modelyard.store.service.services import get_revision
from modelyard.store.service.status import record_end, record_status, record_success
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


async def continues(session: Session, service_id: str, config: Sequence[VersionConfig]) -> bool:
    """Whether the service's open run, if there is one, continues under ``config``.

    It does when only its instances change: their number, flavour or environment.
    """
    run = await store.open_run(session, service_id)
    if run is None:
        return False
    begun = await get_revision(session, service_id, run.revision)
    return work_of(begun.config) == work_of(config)


async def replace_run(session: Session, service: Service, now: int) -> None:
    """Begin a run of the desired revision in the place of the open one, if there is one."""
    run = await store.open_run(session, service.id)
    if run is not None:
        info = f"batch task {run.task_id} is abandoned: the update begins a new one"
        events.record(session, service.id, info, now)
    await abandon_run(session, service, RunOutcome.REPLACED, "a later update took its place", now)
    begin_run(session, service, now)


def work_of(config: Sequence[VersionConfig]) -> tuple[str, BatchJob | None]:
    """What a run of that configuration computes, whatever it runs on."""
    return config[0].model_id, config[0].batch


async def end_when_over(session: Session, service: Service, drivers: Drivers, now: int) -> None:
    """Turn what a driver has come to into the end of the service's run, exactly once."""
    if (
        service.infer_type != BATCH
        or service.desired_status != DesiredStatus.RUNNING.value
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
    reason = "" if finished else run.reason
    desired = await read_desired(session, service)
    result = run_outcome(desired, finished=finished, reason=reason)
    write_desired(service, apply(desired, result, now))
    record_status(service, result.status, now)
    record_end(service, reason)
    closed = Result.SUCCESS if finished else Result.FAIL
    for log in await update_logs.close_logs(session, service.id, closed, now, reason):
        if finished:
            record_success(service, log.update_time)
    await update_logs.finish_rollbacks(session, service.id, now)
    if not finished:
        told = f"batch failed: task {run.task_id}: {run.reason}"
        events.record(session, service.id, told, now, events.ABNORMAL)
        return
    config = (await get_revision(session, service.id, run.revision)).config
    done = counts(from_json(run.progress), mapping_of(config))
    told = f"batch executed: task {run.task_id}, {done}"
    if run.quarantine:
        told += f"; what failed is listed in {run.quarantine}"
    events.record(session, service.id, told, now)


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
