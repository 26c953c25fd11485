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


def may_move_input(request: ChangeRequest) -> bool:
    """Whether a change may name another input; a cheap look, most calls cannot."""
    body = request.body
    if request.kind is ChangeKind.ROLLBACK:
        return True
    if request.kind is ChangeKind.PATCH:
        operations = body if isinstance(body, list) else []
        return any(isinstance(one, dict) and _points_to_input(one) for one in operations)
    config = body.get("config") if isinstance(body, dict) else None
    items = config if request.kind is ChangeKind.UPDATE and isinstance(config, list) else []
    return any(isinstance(item, dict) and _SOURCE in item for item in items)


def _points_to_input(operation: dict[str, object]) -> bool:
    """Whether a JSON pointer names a batch field, or a version as a whole."""
    member = str(operation.get("path", "")).split("/")[3:4]
    return not member or member[0] in BATCH_FIELDS


def moved_input(admitted: AdmittedChange) -> VersionConfig | None:
    """The new configuration, where it reads or writes elsewhere, or otherwise, than the last."""
    if admitted.new is None:
        return None
    new = admitted.new.config[0]
    if new.batch is None or _place(new.batch) == _place(admitted.present.config[0].batch):
        return None
    return new


def run_after(admitted: AdmittedChange, state: ServiceState) -> str:
    """What becomes of the run, in words; empty where that is nothing, and for other services."""
    service, update, new = admitted.service, admitted.update, admitted.new
    if service.infer_type != BATCH:
        return ""
    goes_on = any(run.outcome == RunOutcome.OPEN.value for run in state.runs)
    if update.status == "stopped":
        return "The run that goes on is abandoned; a start begins anew." if goes_on else ""
    if update.status == "running":
        if admitted.retry_of:
            return f"A run begins that computes the failures of {admitted.retry_of} again."
        return "" if goes_on else "A run begins, from the beginning."
    if new is None or service.desired_status != DesiredStatus.RUNNING.value:
        return ""
    if not goes_on:
        return "A new run begins."
    if work_of(admitted.present.config) == work_of(new.config):
        return "The run goes on."
    return "The run that goes on is abandoned, and a new one begins."


def _place(job: BatchJob | None) -> tuple[object, ...]:
    return (
        (job.src_path, job.src_type, job.dest_path, job.mapping_type, job.mapping_rule)
        if job
        else ()
    )
