"""Runs of batch services as answers show them (extensions; docs/batch.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.schemas.base import Millis, ResponseModel, ServiceId


class RunSummary(ResponseModel):
    """A run in a list."""

    task_id: str
    status: Literal["waiting", "running", "finished", "failed", "stopped", "replaced"]
    revision: int
    created_at: Millis
    start_time: Millis | None = None
    finished_time: Millis | None = None
    progress: int = Field(ge=0, le=100)
    unit: Literal["rows", "files"]
    processed: int = Field(description="In `unit`.")
    failed: int = Field(description="Those among them that failed.")
    can_retry: bool = Field(description="Whether what failed can be computed again.")
    retry_of: str | None = Field(None, description="The run whose failures it computes again.")
    error_code: str | None = None
    error_msg: str | None = None


class FileCounts(ResponseModel):
    """Files of a run."""

    total: int
    done: int
    failed: int


class RowCounts(ResponseModel):
    """Rows of a run."""

    done: int
    failed: int


class ByteCounts(ResponseModel):
    """Bytes of a run's input."""

    total: int
    done: int


class _RunFields(RunSummary):
    phase: str
    files: FileCounts
    rows: RowCounts
    bytes: ByteCounts
    listed: bool = Field(description="Whether all input has been listed.")
    rate: float = Field(description="`unit` per second, over the last seconds.")
    seconds_left: float | None = Field(description="Null while it is unknown.")
    message: str
    manifests: list[str] | None = Field(None, description="Once it is over.")
    quarantine: str | None = Field(None, description="The object that lists what failed.")


class RunDetails(_RunFields):
    """One run, with its progress in full."""


class ShowRunResponse(_RunFields):
    """One run, with its progress in full; at most a second old."""

    service_id: ServiceId


class ListRunsResponse(ResponseModel):
    """Runs of a batch service."""

    service_id: ServiceId
    service_name: str
    total_count: int
    count: int
    runs: list[RunSummary]
