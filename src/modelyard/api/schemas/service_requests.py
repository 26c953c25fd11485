"""Bodies and query parameters of the calls on services (services.md §2 to §4, §9)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel

from modelyard.api.schemas.base import (
    ListText,
    NonBlank,
    OpenRequestModel,
    RequestModel,
    optional_whole,
    whole,
)
from modelyard.api.schemas.service_config import (
    MOST_VERSIONS,
    Schedule,
    ServiceAdditionalProperties,
    ServiceConfig,
    ServiceSecret,
)

LoadBalancerPolicy = Literal["ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP"]
ServiceStatus = Literal[
    "deploying",
    "running",
    "concerning",
    "failed",
    "stopping",
    "stopped",
    "deleting",
    "finished",
    "pending",
    "waiting",
]
Configs = Annotated[list[ServiceConfig], Field(min_length=1, max_length=MOST_VERSIONS)]


class _ServiceFields(RequestModel):
    schedule: Annotated[list[Schedule], Field(max_length=1)] | None = Field(
        None, description="Real-time: when the service stops by itself; `[]` for never."
    )
    additional_properties: ServiceAdditionalProperties | None = None
    load_balancer_policy: LoadBalancerPolicy | None = Field(
        None, description="Real-time: how instances of one version share its predictions."
    )
    service_secrets: list[ServiceSecret] | None = None
    priority: Annotated[int | str | None, optional_whole(1, 3)] = Field(
        None, description="Higher is protected; without effect here."
    )


class CreateServiceRequest(_ServiceFields):
    """A new service (services.md §2.1)."""

    service_name: str = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$",
        description="Unique in the project.",
        examples=["gate-cam"],
    )
    infer_type: Literal["real-time", "batch"] = Field(
        description="Edge services are refused with ModelArts.3518."
    )
    description: str | None = Field(None, max_length=100, pattern="^[^!<>+&\"']*$")
    workspace_id: Literal["0", ""] | None = Field(None, description="There is only the default.")
    config: Configs | ListText = Field(
        description="The model versions; a batch service has exactly one."
    )
    cluster_id: str | None = Field(None, description="A dedicated pool of the old generation.")
    pool_name: str | None = Field(None, description="A dedicated pool; wins over `cluster_id`.")
    vpc_id: str | None = Field(None, description="Own networks are not supported here.")
    subnet_network_id: str | None = None
    security_group_id: str | None = None


class UpdateServiceRequest(_ServiceFields):
    """A change of a service; what is left out stays (services.md §3.1).

    Where ``status`` is sent, ``config`` is ignored.
    """

    description: str | None = Field(None, max_length=100)
    status: Literal["running", "stopped"] | None = Field(None, description="Start or stop.")
    config: Configs | ListText | None = Field(
        None, description="Replaces the whole list of model versions."
    )


class PatchServiceOperation(RequestModel):
    """Replaces one value of the configuration (RFC 6902)."""

    op: Literal["replace"]
    path: str = Field(
        pattern=r"^/config/(0|[1-9][0-9]{0,5})(/([^~]|~[01])*)?$",
        max_length=2000,
        description="A JSON pointer into the service as Show lists it.",
        examples=["/config/0/instance_count"],
    )
    value: Any = Field(description="The new value; a string may stand for a number.")


class PatchServiceRequest(RootModel[list[PatchServiceOperation]]):
    """Operations, carried out in their order, all or none (services.md §4)."""

    root: list[PatchServiceOperation] = Field(min_length=1, max_length=1000)


class PropertyChange(RequestModel):
    """The new instance count of one version."""

    model_id: NonBlank
    changed_value: Annotated[int | str, whole(1, 128)]


class UpdateServicePropertyRequest(RequestModel):
    """Other instance counts of a service that runs (services.md §4)."""

    changed_property: Literal["instance_count"]
    configs: list[PropertyChange] = Field(min_length=1, max_length=MOST_VERSIONS)


class UpdateEdgeNodeStatusRequest(RequestModel):
    """Start or stop one node of an edge service (services.md §4)."""

    status: Literal["running", "stopped"]


class RollBackServiceRequest(RequestModel):
    """Nothing: the path names the revision."""


class RetryFailedRequest(RequestModel):
    """Which run to complete; the last one where nothing is named."""

    task_id: str | None = None


# Letters and digits of any language.
_TAG_KEY = r"^(?!_sys_)[\p{L}\p{Nd}_.:=+@-]([\p{L}\p{Nd} _.:=+@-]*[\p{L}\p{Nd}_.:=+@-])?$"
_TAG_VALUE = r"^[\p{L}\p{Nd} _.:=+@/-]*$"


class ServiceTag(RequestModel):
    """A tag (resources.md §7)."""

    key: str = Field(
        min_length=1, max_length=128, json_schema_extra={"pattern": _TAG_KEY}, examples=["team"]
    )
    value: str | None = Field(
        None, max_length=255, json_schema_extra={"pattern": _TAG_VALUE}, examples=["vision"]
    )


class CreateServiceTagsRequest(RequestModel):
    """Tags to set; one of the same key is overwritten. Each key once."""

    tags: list[ServiceTag] = Field(min_length=1, max_length=20)


class DeleteServiceTagsRequest(RequestModel):
    """Tags to remove; with a value, only if it is the tag's. Each key once."""

    tags: list[ServiceTag] = Field(min_length=1, max_length=20)


class PredictionRequest(OpenRequestModel):
    """JSON as the model's apis describe it.

    Models may take other values than objects, too, and files as ``multipart/form-data``.
    """


# -- query parameters -----------------------------------------------------------------------------


class PageQuery(RequestModel):
    """Which part of a list."""

    offset: int = Field(0, ge=0, le=10**15 - 1, description="Records to skip.")
    limit: int = Field(1000, ge=1, le=10**15 - 1, description="Most records; 1000 at most.")
    order: Literal["asc", "desc"] = "desc"


class ListServicesQuery(PageQuery):
    """services.md §9.1."""

    service_id: str | None = None
    service_name: str | None = Field(None, description="Part of the name.")
    model_id: str | None = None
    workspace_id: str | None = None
    infer_type: Literal["real-time", "batch", "edge"] | None = None
    status: ServiceStatus | None = None
    cluster_id: str | None = None
    tags: str | None = Field(None, description="`key` or `key=value`, separated by commas.")
    sort_by: Literal["publish_at", "service_name", "transition_at"] = "publish_at"


class EventsQuery(PageQuery):
    """services.md §9.5."""

    event_type: Literal["normal", "abnormal"] | None = None
    event_info: str | None = Field(
        None, pattern=r"^[^`(){}';,\[\]<>/?]*$", description="Part of the text."
    )
    start_time: int | None = Field(None, ge=0, le=10**15 - 1, description="Milliseconds.")
    end_time: int | None = Field(None, ge=0, le=10**15 - 1, description="Milliseconds.")
    sort_by: Literal["occur_time"] = "occur_time"


class UpdateLogsQuery(RequestModel):
    """services.md §9.4."""

    update_time: int | None = Field(
        None, ge=0, le=10**15 - 1, description="Of one update: its `update_time`."
    )


class ListRevisionsQuery(PageQuery):
    """Newest first by default."""

    sort_by: Literal["number"] = "number"


class CompareRevisionsQuery(RequestModel):
    """Two revisions of one service."""

    from_: int = Field(alias="from", ge=1, le=999_999_999)
    to: int = Field(ge=1, le=999_999_999)


class ServedQuery(RequestModel):
    """A moment in the past."""

    at: str = Field(
        pattern="^([0-9]{1,15}|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]{5,15}(Z|[+-][0-9:]{5})?)?)$",
        description="Milliseconds since 1970, or ISO 8601.",
        examples=["2026-03-01T14:03:00Z"],
    )


class ListRunsQuery(PageQuery):
    """Newest first by default."""

    sort_by: Literal["created_at"] = "created_at"
