"""Events, update logs, revisions and requests of a service (services.md §9.4, §9.5; extensions)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from modelyard.api.schemas.base import Millis, ModelId, ResponseModel, ServiceId
from modelyard.api.schemas.previews import ChangeItem
from modelyard.api.schemas.service_requests import LoadBalancerPolicy
from modelyard.api.schemas.services import ServiceConfigItem

UpdateResult = Literal["SUCCESS", "FAIL", "RUNNING"]


class EventItem(ResponseModel):
    """Something that happened."""

    event_type: Literal["normal", "abnormal"]
    event_info: str = Field(examples=["start to deploy service"])
    occur_time: Millis


class ListServiceEventsResponse(ResponseModel):
    """Events of a service, newest first by default."""

    service_id: ServiceId
    service_name: str
    total_count: int
    count: int
    events: list[EventItem]


class RequestCounts(ResponseModel):
    """What the gateway counted of an update's span."""

    requests: int
    errors: int
    lost: int = Field(description="Predictions that no instance answered.")
    resets: int
    retried: int
    longest_ms: int


class VersionCounts(RequestCounts):
    """The same of one version."""

    model_id: ModelId
    variant: str


class InstanceCounts(ResponseModel):
    """What happened to instances."""

    started: int
    ready: int
    drained: int
    killed: int


class UpdateReport(RequestCounts):
    """Extension: what clients noticed of an update."""

    from_: Millis = Field(alias="from")
    until: Millis
    verdict: str = Field(examples=["0 lost"])
    summary: str
    counted: bool = Field(description="False: the counts are a lower bound.")
    versions: list[VersionCounts]
    instances: InstanceCounts
    published: list[str] = Field(description="The routing versions that Envoy acknowledged.")


class UpdateLogItem(ResponseModel):
    """One update of the configuration."""

    update_time: Millis
    result: UpdateResult
    config: list[ServiceConfigItem]
    extend_config: list[Any]
    cluster_id: str
    revision: int = Field(description="Extension.")
    reason: str | None = Field(None, description="Extension: why it failed or was replaced.")
    report: UpdateReport | None = None


class ShowServiceUpdateLogsResponse(ResponseModel):
    """services.md §9.4."""

    service_id: ServiceId
    service_name: str
    logs: list[UpdateLogItem]


class GuardItem(ResponseModel):
    """The steps of a guarded rollout."""

    steps: list[int]
    hold_seconds: int
    min_samples: int
    max_error_increase: float
    max_latency_ratio: float
    check: str


class RolloutItem(ResponseModel):
    """How the revision was to be reached."""

    keep_former_seconds: int
    guard: GuardItem | None = None


class RevisionItem(ResponseModel):
    """A configuration that the service was asked to have."""

    number: int
    created_at: Millis
    created_by: str
    load_balancer_policy: LoadBalancerPolicy
    rollout: RolloutItem
    config: list[ServiceConfigItem]
    origin: int | None = Field(None, description="The revision that it brought back.")
    update_time: Millis | None = Field(None, description="The key of its update's log.")
    result: UpdateResult | None = None
    reason: str | None = None


class ListRevisionsResponse(ResponseModel):
    """Revisions, newest first by default."""

    service_id: ServiceId
    service_name: str
    total_count: int
    count: int
    revisions: list[RevisionItem]


class ShowRevisionResponse(RevisionItem):
    """One revision."""

    service_id: ServiceId


class CompareRevisionsResponse(ResponseModel):
    """What differs between two revisions."""

    service_id: ServiceId
    from_: int = Field(alias="from")
    to: int
    changes: list[ChangeItem]


class ShowServedResponse(ResponseModel):
    """What answered predictions at a moment; nothing did where ``revision`` is null."""

    service_id: ServiceId
    at: Millis
    revision: int | None
    since: Millis | None
    until: Millis | None = Field(description="Null: it still does.")
    config: list[ServiceConfigItem]


class ShowRequestResponse(ResponseModel):
    """The prediction whose answer carried an ``X-Request-Id``."""

    request_id: str
    service_id: ServiceId
    at: Millis
    duration_ms: float
    status: int
    flags: list[str] = Field(description="Envoy's response flags.")
    attempts: int
    revision: int | None
    model_id: str
    model_name: str
    model_version: str
    variant: str
    instance_id: str
