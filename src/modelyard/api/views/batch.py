"""Runs of batch services as the API shows them (services.md §9; most members are ours); pure."""

from __future__ import annotations

from typing import Any

from modelyard.domain.batch.progress import counts, from_json, percent
from modelyard.domain.batch.run import RunOutcome
from modelyard.domain.service.config import VersionConfig
from modelyard.store.tables.batch import BatchRun

Json = dict[str, Any]


def times(run: BatchRun | None) -> Json:
    """``start_time`` once it has begun, ``finished_time`` once it is over (ms)."""
    found = {"start_time": run.started_at, "finished_time": run.finished_at} if run else {}
    return {key: at for key, at in found.items() if at is not None}


def progress_of(run: BatchRun, mapping_type: str) -> int:
    """0 to 100."""
    return percent(from_json(run.progress), RunOutcome(run.outcome), mapping_type)


def mapping_of(version: VersionConfig | None) -> str:
    """``file`` or ``csv``; nothing for no batch service."""
    return version.batch.mapping_type if version and version.batch else ""


def run_status(run: BatchRun) -> str:
    """``waiting`` (for its instances), ``running``, ``finished``, ``failed``, ``stopped`` or
    ``replaced`` (by that of a later update).
    """
    return run.outcome or ("running" if run.started_at is not None else "waiting")


def run_summary(run: BatchRun, version: VersionConfig | None) -> Json:
    """An element of the list of runs."""
    mapping_type = mapping_of(version)
    done = counts(from_json(run.progress), mapping_type)
    body: Json = {
        "task_id": run.task_id,
        "status": run_status(run),
        "revision": run.revision,
        "created_at": run.created_at,
        **times(run),
        "progress": progress_of(run, mapping_type),
        "unit": done.what,
        "processed": done.processed,
        "failed": done.failed,
        "can_retry": can_retry(run),
    }
    optional = {"retry_of": run.retry_of, "error_code": _code(run), "error_msg": _reason(run)}
    return body | {key: value for key, value in optional.items() if value}


def can_retry(run: BatchRun) -> bool:
    """Whether there are failures, and what it takes to compute them again."""
    progress = from_json(run.progress)
    failed = progress.files_failed + progress.rows_failed
    return run.outcome == RunOutcome.FINISHED.value and run.kept and failed > 0


def run_details(run: BatchRun, version: VersionConfig | None) -> Json:
    """One run, with its progress in full: sizes in bytes, ``rate`` per second of ``unit``."""
    now = from_json(run.progress)
    body = run_summary(run, version) | {
        "phase": now.phase,
        "files": {"total": now.files_total, "done": now.files_done, "failed": now.files_failed},
        "rows": {"done": now.rows_done, "failed": now.rows_failed},
        "bytes": {"total": now.bytes_total, "done": now.bytes_done},
        "listed": now.listed,
        "rate": now.rate,
        "seconds_left": now.seconds_left,
        "message": now.message,
    }
    if run.outcome:
        # What goes on no more has no speed.
        body |= {"rate": 0.0, "seconds_left": None, "message": ""}
        body |= {"manifests": list(run.manifests), "quarantine": run.quarantine}
    return body


def _code(run: BatchRun) -> str:
    return f"ModelArts.{run.code}" if run.code else ""


def _reason(run: BatchRun) -> str:
    return run.reason if run.outcome != RunOutcome.FINISHED.value else ""
