"""Find the run that a request to retry failures means (an extension)."""

from __future__ import annotations

from modelyard.domain.batch.progress import failures, from_json
from modelyard.domain.batch.run import RunOutcome
from modelyard.domain.body_reader import Fields, Problems
from modelyard.domain.service.batch_job import BATCH
from modelyard.errors import InvalidRequest, NotFound, StateForbids, refuse
from modelyard.store import batch_runs as store
from modelyard.store.database import Session
from modelyard.store.service.services import get_revision
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.service import Service


async def run_to_retry(session: Session, service: Service, body: object) -> str:
    """Return the task id of the run that ``body`` names, else of the last one.

    Raises ``InvalidRequest``, ``NotFound`` or ``StateForbids`` when there is nothing to retry.
    """
    require_batch(service)
    task_id = _named(body)
    if task_id is None:
        run = (await store.latest_runs(session, [service.id])).get(service.id)
    else:
        run = await store.find_run(session, service.id, task_id)
    if run is None:
        raise no_run(task_id or "")
    if run.outcome == RunOutcome.OPEN.value:
        raise StateForbids(
            f"task_id: the run {run.task_id} goes on. Wait for its end.", field="task_id"
        )
    await _check(session, service, run)
    return run.task_id


async def _check(session: Session, service: Service, run: BatchRun) -> None:
    reason = ""
    if run.outcome != RunOutcome.FINISHED.value:
        reason = f"was not finished but {run.outcome}, so that its failures are not all known"
    elif run.closed_at is not None and not run.kept:
        reason = "ended too long ago: what it had computed is kept no more"
    elif not failures(from_json(run.progress)):
        reason = "has no failures"
    else:
        begun = await get_revision(session, service.id, run.revision)
        now = await get_revision(session, service.id, service.desired_revision)
        if begun.config[0].batch != now.config[0].batch:
            reason = "read another input, or read it otherwise, than the service does now"
    if reason:
        raise InvalidRequest(
            f"task_id: the run {run.task_id} {reason}. Start the service to compute all anew.",
            field="task_id",
        )


def require_batch(service: Service) -> None:
    """Raises ``InvalidRequest`` 3518 for a service of another kind."""
    if service.infer_type != BATCH:
        raise InvalidRequest(
            f"service_id: {service.name!r} is a {service.infer_type} service and has no runs; "
            "only batch services have. List them with ?infer_type=batch.",
            code="3518",
            field="service_id",
        )


def no_run(task_id: str) -> NotFound:
    """Return the error for a run that the service never had."""
    return NotFound(
        f"task_id: the service has no run {task_id[:64]!r}. List them with GET …/runs.",
        code="3822",
        field="task_id",
    )


def _named(body: object) -> str | None:
    if body is None:
        return None
    problems = Problems()
    named = None
    if isinstance(body, dict):
        fields = Fields(body, "", problems)
        fields.only(("task_id",), "Send task_id, or nothing for the last run.")
        named = fields.text("task_id")
    else:
        problems.invalid("body", "is not a JSON object", "Send task_id, or nothing.", "4105")
    if problems.found:
        raise refuse(problems.found)
    return named or None
