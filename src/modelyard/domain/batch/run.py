"""A batch run as the control plane and its driver exchange it (inference.md §2). Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelyard.domain.service.batch_job import BatchJob

FILE_LIMIT = 12 * 1024 * 1024
JSON = "application/json"


class RunOutcome(StrEnum):
    """How a run ended, as its record keeps it."""

    OPEN = ""
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    REPLACED = "replaced"
    """A configuration update took its place."""


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What an operator allows every run; the members are those of ``RunSpec``."""

    file_limit: int = FILE_LIMIT
    csv_limit: int = 0
    request_timeout_s: float = 40.0
    attempts: int = 3
    manifest_lines: int = 100_000


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run, as the control plane wrote it down before the driver's first start.

    ``source``: ``obs://bucket/prefix/`` or, with ``source_type`` ``ManifestFile``, a manifest;
    ``destination``: ``obs://bucket/prefix/``. ``path``: the request's on the instance.
    ``field``: of the form, for ``mapping_type`` ``file``. ``file_limit``: bytes of one file;
    ``csv_limit``: bytes of one CSV, 0 for any. ``attempts``: how often one request may be lost
    with its connection before it has failed. ``manifest_lines``: of one output manifest.
    ``retry_of``: the run whose failures are computed again.
    """

    task_id: str
    service_id: str
    project_id: str
    model_id: str
    source: str
    destination: str
    mapping_type: str
    source_type: str = ""
    path: str = "/"
    content_type: str = JSON
    field: str = ""
    mapping_rule: object = None
    file_limit: int = FILE_LIMIT
    csv_limit: int = 0
    request_timeout_s: float = 40.0
    attempts: int = 3
    manifest_lines: int = 100_000
    retry_of: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. ``rate``: rows (or files) per second over the last seconds."""

    phase: str = "listing"
    listed: bool = False
    files_total: int = 0
    files_done: int = 0
    files_failed: int = 0
    rows_done: int = 0
    rows_failed: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: ``finished``, or ``failed`` with ``code`` and ``reason``."""

    outcome: str
    progress: Progress
    code: str = ""
    reason: str = ""
    manifests: tuple[str, ...] = ()
    quarantine: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """An instance that is ready now."""

    instance_id: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class DriverReport:
    """What is true of a run's driver. ``result``: None while the run is not over."""

    alive: bool
    progress: Progress | None = None
    result: Result | None = None


def draft_spec(job: BatchJob, project_id: str, model_id: str, limits: RunLimits) -> RunSpec:
    """Return the run that ``job`` would begin, before it has an id."""
    return RunSpec(
        task_id="",
        service_id="",
        project_id=project_id,
        model_id=model_id,
        source=job.src_path,
        source_type=job.src_type,
        destination=job.dest_path,
        path=job.req_uri,
        content_type=job.content_type,
        mapping_type=job.mapping_type,
        field=job.field,
        mapping_rule=job.mapping_rule,
        file_limit=limits.file_limit,
        csv_limit=limits.csv_limit,
        request_timeout_s=limits.request_timeout_s,
        attempts=limits.attempts,
        manifest_lines=limits.manifest_lines,
    )
