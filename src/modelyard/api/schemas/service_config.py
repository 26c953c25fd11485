"""``ServiceConfig``: one model version of a service, as requests send it (services.md §3.3)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from modelyard.api.schemas.base import (
    LARGEST,
    JsonObject,
    ListText,
    NonBlank,
    ObjectText,
    OpenRequestModel,
    RequestModel,
    optional_whole,
    whole,
)

MOST_VERSIONS = 100

InstanceCount = Annotated[int | str, whole(1, 128)]
MountPath = Annotated[
    str,
    Field(
        pattern=r"^/[A-Za-z0-9\\_.\-/]*$",
        max_length=1024,
        description="An absolute path, below no directory of the system, in no other mount.",
        examples=["/data"],
    ),
]
_SHARE: JsonObject = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
_COUNT: JsonObject = {"type": "integer", "minimum": 1, "maximum": int(LARGEST)}


class CustomSpec(RequestModel):
    """Resources of one instance, where ``specification`` is ``custom`` (services.md §3.4)."""

    cpu: float = Field(ge=0.01, le=LARGEST, description="Cores; two decimals are kept.")
    memory: Annotated[int | str, whole(1, 1_000_000_000)] = Field(description="MB.")
    gpu_p4: float | None = Field(
        None, ge=0, le=LARGEST, description="Cards, with at most two decimals."
    )
    ascend_a310: Annotated[int | str | None, optional_whole(0, 1_000_000)] = Field(
        None, description="Chips; not together with `gpu_p4`."
    )
    ascend_a910: Annotated[int | str | None, optional_whole(0, 0)] = Field(
        None, description="Only 0: this platform does not offer it."
    )


class PersistentVolume(RequestModel):
    """Storage that outlives instances; only in a dedicated pool (services.md §5.2)."""

    name: str | None = Field(
        None, max_length=255, description="Needed unless `storage_type` is given."
    )
    mount_path: MountPath
    storage_type: Literal["sfs_turbo"] | None = None
    source_address: str | None = Field(
        None, max_length=255, description="The id of the SFS Turbo file system."
    )


class LogVolume(RequestModel):
    """A directory of the node that takes an instance's logs; only in a dedicated pool."""

    host_path: MountPath
    mount_path: MountPath


class ModelPropertyGroup(RequestModel):
    """What a version's ``additional_properties`` may say (services.md §5.2)."""

    persistent_volumes: list[PersistentVolume] | None = None
    log_volume: list[LogVolume] | None = None
    max_surge: Annotated[
        float | None, WithJsonSchema({"anyOf": [_SHARE, _COUNT, {"type": "null"}]})
    ] = Field(
        None,
        description="Instances that may be added while replacing: below 1 a share of them, from "
        "1 on a count.",
    )
    max_unavailable: Annotated[
        float | None,
        WithJsonSchema(
            {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, _COUNT, {"type": "null"}]}
        ),
    ] = Field(
        None,
        description="Instances that may be missing while replacing: below 1 a share of them, from "
        "1 on a count.",
    )
    termination_grace_period_seconds: Annotated[int | str | None, optional_whole(0, 3600)] = Field(
        None, description="Longest time for an instance to finish its last predictions."
    )
    shadow: Annotated[int | str | None, optional_whole(1, 100)] = Field(
        None,
        description="Extension: percent of the predictions of which this version gets a copy; "
        "only with weight 0.",
    )


class ModelAdditionalProperties(ModelPropertyGroup):
    """The members either directly, or one level down below any name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ModelPropertyGroup]


class AffinityNode(RequestModel):
    """A node of the pool."""

    name: NonBlank = Field(description="The node's private address.")


class AffinityPool(RequestModel):
    """The version's pool, and its nodes to use; all of them when none is named."""

    pool_name: NonBlank
    nodes: list[AffinityNode] | None = None


class NodeAffinity(RequestModel):
    """Whether the named nodes are required or only preferred."""

    mode: Literal["required", "preferred"]
    pool_infos: list[AffinityPool] = Field(min_length=1, max_length=1)


class Affinity(RequestModel):
    """On which nodes of its pool a version runs (services.md §5.3)."""

    node_affinity: NodeAffinity


class ServiceConfig(RequestModel):
    """One model version of a service.

    ``weight`` belongs to real-time services, where it is needed; ``src_path`` to
    ``mapping_rule`` belong to batch services. In a service of another kind they have no effect.
    """

    model_id: NonBlank = Field(description="A published model version of the project.")
    specification: NonBlank = Field(
        description="A flavor of `GET …/services/specifications`, or `custom` in a dedicated pool.",
        examples=["modelarts.vm.cpu.2u"],
    )
    instance_count: InstanceCount = Field(
        description="Instances; the operator's limit is 5 by default.", examples=[1, "2"]
    )
    weight: Annotated[int | str | None, optional_whole(0, 100)] = Field(
        None,
        description="Real-time: percent of the predictions; the weights of a service sum to 100.",
        examples=[100, "100"],
    )
    custom_spec: CustomSpec | None = Field(None, description="With `specification` `custom`.")
    envs: (
        Annotated[
            dict[str, str],
            WithJsonSchema(
                {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "propertyNames": {"pattern": "^[^=]+$"},
                }
            ),
        ]
        | None
    ) = Field(None, description="Environment variables of the instances.")
    cluster_id: str | None = Field(None, description="A dedicated pool of the old generation.")
    pool_name: str | None = Field(None, description="A dedicated pool; wins over `cluster_id`.")
    additional_properties: ModelAdditionalProperties | None = None
    deploy_timeout_in_seconds: Annotated[int | str | None, optional_whole(180, 7200)] = Field(
        None, description="Longest start of one instance."
    )
    affinity: Affinity | None = None
    nodes: list[str] | None = Field(None, description="Edge services, which are not offered here.")
    src_path: str | None = Field(
        None, description="Batch: the folder to read, or a manifest.", examples=["obs://in/people/"]
    )
    dest_path: str | None = Field(
        None, description="Batch: the folder for the results.", examples=["obs://out/people/"]
    )
    req_uri: str | None = Field(None, description="Batch: the url of one of the model's apis.")
    mapping_type: Literal["file", "csv"] | None = Field(
        None, description="Batch: one request per file, or one per row."
    )
    mapping_rule: JsonObject | ObjectText | None = Field(
        None, description="Batch with `csv`: the api's request schema with a column per leaf."
    )
    src_type: Literal["", "ManifestFile"] | None = Field(
        None, description="Batch: `ManifestFile` where `src_path` is a manifest."
    )


class Schedule(RequestModel):
    """Stops a real-time service some time after its start (services.md §6)."""

    type: Literal["stop"]
    time_unit: Literal["DAYS", "HOURS", "MINUTES"]
    duration: Annotated[int | str, whole(1, 10_000)]


class ServiceSecret(RequestModel):
    """A secret for the instances. ``mouthPath`` is the documented spelling; one of both."""

    secretId: NonBlank = Field(max_length=255)  # noqa: N815  the API's spelling
    mouthPath: MountPath | None = None  # noqa: N815
    mountPath: MountPath | None = None  # noqa: N815


class RolloutPolicy(RequestModel):
    """Extension: how a new revision is reached (docs/rollouts.md). The rest needs ``steps``."""

    steps: Annotated[
        list[int | str] | None,
        WithJsonSchema(
            {
                "anyOf": [
                    {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 20,
                        "items": whole(1, 99).json_schema,
                    },
                    {"type": "null"},
                ]
            }
        ),
    ] = Field(None, description="Rising percentages of the predictions.", examples=[[5, 25, 50]])
    hold_seconds: Annotated[int | str | None, optional_whole(1, 86_400)] = None
    min_samples: Annotated[int | str | None, optional_whole(1, 1_000_000)] = None
    max_error_increase: float | None = Field(
        None, ge=0, le=1, description="How much the error rate may rise; 0.01 is one point."
    )
    max_latency_ratio: float | None = Field(None, ge=1, le=100)
    check: str | None = Field(None, description="The name of one of the operator's scripts.")
    keep_former_minutes: Annotated[int | str | None, optional_whole(0, 1440)] = Field(
        None, description="How long the former revision stays loaded."
    )


class Notification(RequestModel):
    """Which events go to which topic."""

    topic_urn: NonBlank
    events: list[Literal[1, 3, 7, 11]] = Field(
        description="1 failed, 3 running, 7 concerning, 11 pending."
    )


class LogStream(RequestModel):
    """A stream of the log service."""

    log_group_id: NonBlank = Field(max_length=64)
    log_stream_id: NonBlank = Field(max_length=64)


class LogReportChannel(RequestModel):
    """Where the logs of instances go."""

    type: Literal["LTS"]
    configuration: LogStream


class ServiceAdditionalProperties(OpenRequestModel):
    """Any members, which are stored and shown; these have a meaning (services.md §5.1)."""

    smn_notification: dict[str, Notification] | ObjectText | None = Field(
        None, description="By name; stored, and not sent here."
    )
    log_report_channels: list[LogReportChannel] | ListText | None = Field(
        None, description="Stored, and not sent here; cannot be changed once there are any."
    )
    websocket_upgrade: bool | Literal["true", "false", ""] | None = Field(
        None, description="Whether the service takes WebSockets; true is for good."
    )
    rollout: RolloutPolicy | ObjectText | None = None
