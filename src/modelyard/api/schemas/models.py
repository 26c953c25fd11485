"""Models as answers show them (models.md §1)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from modelyard.api.schemas.base import JsonObject, Millis, ModelId, ResponseModel
from modelyard.api.schemas.history import EventItem

ModelStatus = Literal["publishing", "published", "failed", "building", "building_failed"]


class CreateModelResponse(ResponseModel):
    """The import has begun; ``model_status`` tells how it goes."""

    model_id: ModelId


class Specification(ResponseModel):
    """What an instance needs at least."""

    min_cpu: str
    min_gpu: str
    min_memory: str


class ModelSummary(ResponseModel):
    """A model version in a list."""

    model_id: ModelId
    model_name: str
    model_version: str
    model_type: str
    model_size: int = Field(description="Bytes.")
    model_status: ModelStatus
    model_source: Literal["auto", "algos", "custom"]
    source_type: str
    description: str
    owner: str
    tenant: str
    project: str
    workspace_id: str
    install_type: list[str]
    create_at: Millis
    tunable: bool
    market_flag: bool
    publishable_flag: bool
    source_copy: Literal["true", "false"]
    subscription_id: str
    extra: str
    specification: Specification


class ListModelsResponse(ResponseModel):
    """Model versions of the project."""

    total_count: int
    count: int
    models: list[ModelSummary]


class ModelEnvironment(ResponseModel):
    """Extension: what the model's instances run in."""

    digest: str = Field(description="Empty for the platform's own environment.")
    python: str
    policy: str
    lock: list[str] = Field(description="What is installed.")
    size: int = Field(description="Bytes.")
    relaxations: list[str] = Field(description="What differs from what the package asks for.")


class LabelsMap(ResponseModel):
    """Labels of the model's outputs."""

    labels: list[str]


class ShowModelResponse(ModelSummary):
    """One model version. Members that hold JSON as text always hold valid JSON."""

    runtime: str
    source_location: str
    source_job_id: str
    source_job_version: str
    execution_code: str
    image_address: str
    schema_doc: str
    input_params: list[JsonObject]
    output_params: list[JsonObject]
    dependencies: list[JsonObject]
    model_metrics: str = Field(description="JSON as text.")
    apis: str = Field(description="JSON as text.")
    config: str = Field(description="The config.json as text.")
    model_labels: list[str]
    labels_map: LabelsMap
    model_docs: list[JsonObject]
    model_algorithm: str
    cmd: str
    failed_reason: str = Field(description="Extension: why the import failed.")
    findings: list[JsonObject] = Field(description="Extension: what may go wrong, and the fix.")
    environment: ModelEnvironment
    health: JsonObject | None = None
    readiness_health: JsonObject | None = None
    startup_health: JsonObject | None = None
    port: int | None = Field(None, description="Images: where the container listens.")


class FailedDeletion(ResponseModel):
    """A model that stays, and why."""

    model_id: ModelId
    error_code: str = Field(examples=["ModelArts.3009"])
    error_msg: str


class DeleteModelResponse(ResponseModel):
    """What was deleted and what was not."""

    delete_success_list: list[str]
    delete_failed_list: list[FailedDeletion]


class ListModelEventsResponse(ResponseModel):
    """Events of a model version."""

    model_id: ModelId
    model_name: str
    total_count: int
    count: int
    events: list[EventItem]


class EngineRuntimes(ResponseModel):
    """One engine, with parallel lists."""

    ai_engine: str
    runtimes: list[str]
    request_mode: list[str]
    accelerators: list[dict[str, Any]]
    arch: list[str]
    status_list: list[str]
    image_source: list[str]


class ListEngineRuntimesResponse(ResponseModel):
    """Engines and their runtimes."""

    total_count: int
    count: int
    engine_runtimes: list[EngineRuntimes]
