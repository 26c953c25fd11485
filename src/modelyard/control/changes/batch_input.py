"""What a call means for the input and the run of a batch service, before it is written; pure."""

from __future__ import annotations

from modelyard.control.batch.runs import work_of
from modelyard.control.changes.admission import AdmittedChange, ChangeKind, ChangeRequest
from modelyard.domain.batch.run import RunOutcome
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.batch_job import BATCH, BATCH_FIELDS, BatchJob
from modelyard.domain.service.config import VersionConfig
from modelyard.store.service.state import ServiceState

_SOURCE = "src_path"


def asks_for_batch(body: object) -> bool:
    """Whether ``body`` asks for a new batch service."""
    return isinstance(body, dict) and body.get("infer_type") == BATCH


def may_move_input(asked: ChangeRequest) -> bool:
    """Whether a change may name another input; a cheap look, most calls cannot."""
    body = asked.body
    if asked.form is ChangeKind.ROLLBACK:
        return True
    if asked.form is ChangeKind.PATCH:
        operations = body if isinstance(body, list) else []
        return any(isinstance(one, dict) and _points_to_input(one) for one in operations)
    config = body.get("config") if isinstance(body, dict) else None
    items = config if asked.form is ChangeKind.UPDATE and isinstance(config, list) else []
    return any(isinstance(item, dict) and _SOURCE in item for item in items)


def _points_to_input(operation: dict[str, object]) -> bool:
    """Whether a JSON pointer names a batch field, or a version as a whole."""
    member = str(operation.get("path", "")).split("/")[3:4]
    return not member or member[0] in BATCH_FIELDS


def moved_input(judged: AdmittedChange) -> VersionConfig | None:
    """The new configuration, where it reads or writes elsewhere, or otherwise, than the last."""
    if judged.new is None:
        return None
    new = judged.new.config[0]
    if new.batch is None or _place(new.batch) == _place(judged.present.config[0].batch):
        return None
    return new


def run_after(judged: AdmittedChange, state: ServiceState) -> str:
    """What becomes of the run, in words; empty where that is nothing, and for other services."""
    service, wish, new = judged.service, judged.wish, judged.new
    if service.infer_type != BATCH:
        return ""
    goes_on = any(run.outcome == RunOutcome.OPEN.value for run in state.runs)
    if wish.status == "stopped":
        return "The run that goes on is abandoned; a start begins anew." if goes_on else ""
    if wish.status == "running":
        if judged.retry_of:
            return f"A run begins that computes the failures of {judged.retry_of} again."
        return "" if goes_on else "A run begins, from the beginning."
    if new is None or service.wanted != DesiredStatus.RUNNING.value:
        return ""
    if not goes_on:
        return "A new run begins."
    if work_of(judged.present.config) == work_of(new.config):
        return "The run goes on."
    return "The run that goes on is abandoned, and a new one begins."


def _place(job: BatchJob | None) -> tuple[object, ...]:
    return (
        (job.src_path, job.src_type, job.dest_path, job.mapping_type, job.mapping_rule)
        if job
        else ()
    )
