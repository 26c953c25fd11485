"""Services as answers show them (services.md §2.1, §3.2, §9)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, RootModel

from modelyard.api.schemas.base import JsonObject, Millis, ModelId, ResponseModel, ServiceId
from modelyard.api.schemas.batch import RunDetails
from modelyard.api.schemas.previews import BatchPreview, ChangePreview
from modelyard.api.schemas.service_requests import LoadBalancerPolicy, ServiceStatus

InferType = Literal["real-time", "batch", "edge"]


class ServiceCreated(ResponseModel):
    """The service was accepted; its status tells how far it is."""

    service_id: ServiceId
    resource_ids: list[str] = Field(description="One per deployed model.")


class CreateServiceResponse(RootModel[ServiceCreated | BatchPreview]):
    """The new service; with ``dry_run=true`` the preview of a batch service."""


class ServiceUpdated(ResponseModel):
    """The change was accepted. Empty unless it asks for another configuration."""

    update_time: str | None = Field(None, description="Milliseconds; the key of the update's log.")
    resource_ids: list[str] | None = None


class UpdateServiceResponse(RootModel[ServiceUpdated | ChangePreview]):
    """What was accepted; with ``dry_run=true`` what the change would do."""


class DeleteServiceResponse(ResponseModel):
    """Empty."""


class CustomSpecItem(ResponseModel):
    """Resources of one instance."""

    cpu: float
    memory: int = Field(description="MB.")
    gpu_p4: float | None = None
    ascend_a310: int | None = None


class ServiceConfigItem(ResponseModel):
    """A model version of a service, a revision or an update."""

    model_id: ModelId
    model_name: str = Field(description="Empty once the model is gone.")
    model_version: str
    specification: str
    instance_count: int
    weight: int | None = Field(None, description="Real-time: percent of the predictions.")
    envs: dict[str, str]
    deploy_timeout_in_seconds: int
    cluster_id: str | None = None
    pool_name: str | None = None
    custom_spec: CustomSpecItem | None = None
    additional_properties: JsonObject | None = None
    affinity: JsonObject | None = None
    src_path: str | None = None
    dest_path: str | None = None
    req_uri: str | None = None
    mapping_type: Literal["file", "csv"] | None = None
    mapping_rule: JsonObject | None = None
    src_type: str | None = None


class ServiceVersion(ServiceConfigItem):
    """A model version of a service, with its present state."""

    source_type: str
    status: Literal["ready", "concerning", "notReady"] = Field(
        description="All, some or none of its instances are ready."
    )
    scaling: bool
    support_debug: bool
    invocation_times: int | None = Field(None, description="Predictions.")
    failed_times: int | None = Field(None, description="Those among them that failed.")
    task_id: str | None = Field(None, description="Extension: the last run of a batch service.")
    start_time: Millis | None = None
    finished_time: Millis | None = None


class ScheduleItem(ResponseModel):
    """When the service stops by itself."""

    type: str
    time_unit: str
    duration: int


class _ServiceFields(ResponseModel):
    service_id: ServiceId
    service_name: str
    description: str
    infer_type: InferType
    status: ServiceStatus
    owner: str
    tenant: str
    project: str
    workspace_id: str
    publish_at: Millis
    transition_at: Millis
    operation_time: Millis
    invocation_times: int | None = Field(None, description="Predictions since its creation.")
    failed_times: int | None = None
    is_shared: bool
    shared_count: int
    is_free: bool
    progress: int | None = Field(None, ge=0, le=100)
    due_time: Millis | None = Field(None, description="When it stops by itself.")
    schedule: list[ScheduleItem] | None = None
    additional_properties: JsonObject | None = None


class ServiceSummary(_ServiceFields):
    """A service in a list."""

    is_opened_sample_collection: str
    start_time: Millis | None = Field(None, description="Batch: of the last run.")
    finished_time: Millis | None = None


class ListServicesResponse(ResponseModel):
    """Services of the project."""

    total_count: int = Field(description="Before paging.")
    count: int = Field(description="In this answer.")
    services: list[ServiceSummary]


class RevisionNumbers(ResponseModel):
    """Extension: the configuration asked for last, the one that serves, the one shown."""

    desired: int
    serving: int | None
    live: int | None


class PendingSetting(ResponseModel):
    """Extension: a setting that was accepted and is not in force here."""

    field: str
    reason: str


class SecretItem(ResponseModel):
    """A secret as it was sent."""

    secretId: str  # noqa: N815  the API's spelling
    mouthPath: str  # noqa: N815


class TagItem(ResponseModel):
    """A tag."""

    key: str
    value: str


class ShowServiceResponse(_ServiceFields):
    """One service. Its ``ETag`` header is what ``If-Match`` of a change refers to."""

    load_balancer_policy: LoadBalancerPolicy | None = None
    access_address: str | None = Field(None, description="Where predictions go.")
    update_time: Millis | None
    priority: int
    config: list[ServiceVersion]
    revision: RevisionNumbers
    cluster_id: str | None = None
    pool_name: str | None = None
    service_secrets: list[SecretItem] | None = None
    pending: list[PendingSetting] | None = None
    error_msg: str | None = Field(None, description="Why it failed.")
    tags: list[TagItem] = Field(description="Extension.")


class ShadowCounts(ResponseModel):
    """Extension: what became of the copies that a shadow version got."""

    percent: int
    requests: int
    errors: int
    dropped: int
    p50_ms: float | None
    p99_ms: float | None


class VersionMonitor(ResponseModel):
    """What one version uses: cores, MB, cards; totals are what it may use."""

    model_id: ModelId
    model_name: str
    model_version: str
    invocation_times: int
    failed_times: int
    cpu_core_usage: float
    cpu_core_total: float
    cpu_memory_usage: int
    cpu_memory_total: int
    gpu_usage: float
    gpu_total: float
    gpu_memory_usage: float
    gpu_memory_total: float
    npu_usage: float
    npu_total: float
    npu_memory_usage: float
    npu_memory_total: float
    model_running_instance_count: int
    model_instance_count: int
    shadow: ShadowCounts | None = None


class ShowServiceMonitorResponse(ResponseModel):
    """services.md §9.6."""

    service_id: ServiceId
    service_name: str
    service_instance_count: int
    service_running_instance_count: int
    req_count_per_min: int
    monitors: list[VersionMonitor]
    batch: RunDetails | None = Field(None, description="Extension: the last run.")
