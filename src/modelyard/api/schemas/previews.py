"""Previews of changes: answers with ``dry_run=true`` (docs/previews.md; an extension)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from modelyard.api.schemas.base import JsonObject, ModelId, ResponseModel, ServiceId
from modelyard.api.schemas.errors import ProblemItem


class ChangeItem(ResponseModel):
    """One difference between two configurations."""

    field: str = Field(examples=["config[0].weight"])
    before: Any
    after: Any
    effect: Literal["nothing restarts", "adds or removes instances", "replaces instances"]
    model_id: ModelId | None = None


class InstanceStep(ResponseModel):
    """What happens to one instance."""

    instance_id: str
    model_id: ModelId
    model_name: str
    model_version: str
    revision: int | None
    action: str
    when_s: float = Field(description="Seconds from now.")
    why: str
    until_s: float | None = Field(None, description="Seconds from now.")


class TrafficPart(ResponseModel):
    """What one version gets."""

    model_id: ModelId
    model_name: str
    model_version: str
    revision: int
    weight: int
    instances: int
    shadow: int | None = None


class TrafficStep(ResponseModel):
    """How traffic is split from a moment on."""

    at_s: float = Field(description="Seconds from now.")
    revision: int | None = Field(description="Null: nothing answers.")
    versions: list[TrafficPart]
    why: str


class Amount(ResponseModel):
    """Resources; null means without a limit."""

    cpu: float | None
    memory_mb: int | None
    gpu: float | None
    npu: int | None


class PoolUsage(ResponseModel):
    """What the service takes of one pool."""

    pool: str
    now: Amount
    during: Amount
    kept: Amount
    after: Amount
    free: Amount


class BatchInput(ResponseModel):
    """What a run would read."""

    source: str
    files: int
    bytes: int
    complete: bool = Field(description="False: there is more than was looked at.")


class BatchOutput(ResponseModel):
    """Where a run would write."""

    manifest: str
    results: str


class _BatchFields(ResponseModel):
    input: BatchInput
    requests: list[JsonObject] = Field(description="The first requests that would be sent.")
    output: BatchOutput


class BatchPreview(_BatchFields):
    """What the creation of a batch service would do."""

    service_name: str
    infer_type: Literal["batch"]
    dry_run: Literal[True]


class ChangePreview(ResponseModel):
    """What a change would do, without doing it."""

    service_id: ServiceId
    service_name: str
    dry_run: Literal[True]
    revision: int | None = Field(description="The new revision; null: none.")
    changes: list[ChangeItem]
    instances: list[InstanceStep]
    traffic: list[TrafficStep]
    peak: list[PoolUsage]
    expected_seconds: float | None = Field(description="Null: it would not end.")
    expected_by: str = Field(description="How the seconds are known.")
    problems: list[ProblemItem]
    sentences: list[str] = Field(description="The preview in words.")
    plan_token: str | None = Field(None, description="For a change only if it goes as planned.")
    input: BatchInput | None = Field(None, description="Batch, where other input would be read.")
    requests: list[JsonObject] | None = None
    output: BatchOutput | None = None
