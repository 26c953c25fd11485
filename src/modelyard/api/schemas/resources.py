"""What services run on (resources.md §1, §2), and the version documents of the APIs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.schemas.base import Millis, ResponseModel
from modelyard.api.schemas.service_requests import PageQuery

Bool = Literal["true", "false"]


class ListSpecificationsQuery(PageQuery):
    """resources.md §1."""

    infer_type: Literal["real-time", "batch"] | None = None
    is_personal_cluster: Bool | None = None
    sort_by: Literal["specification"] = "specification"


class CpuInfo(ResponseModel):
    """Cores."""

    arch: str
    cpu: float


class MemoryInfo(ResponseModel):
    """Memory."""

    unit: Literal["GB"]
    memory: int


class GpuInfo(ResponseModel):
    """Cards; zeroes when there are none."""

    brand: str
    version: str
    unit: str
    memory: int
    gpu: float


class NpuInfo(ResponseModel):
    """Chips; zeroes when there are none."""

    brand: str
    version: str
    unit: str
    memory: int
    npu: int


class FlavorItem(ResponseModel):
    """A deployment flavor."""

    specification: str
    billing_spec: str
    category: Literal["CPU", "GPU", "NPU"]
    cpu_info: CpuInfo
    memory_info: MemoryInfo
    gpu_info: GpuInfo
    npu_info: NpuInfo
    is_open: bool = Field(description="False: on request only.")
    spec_status: Literal["normal", "sellout"]
    source_type: str
    is_free: bool
    over_quota: bool
    extend_params: int
    display_en: str
    display_cn: str


class ShowServiceSpecificationsResponse(ResponseModel):
    """Deployment flavors."""

    total_count: int
    count: int
    specifications: list[FlavorItem]


class ListClustersQuery(PageQuery):
    """resources.md §2."""

    cluster_name: str | None = Field(None, description="Part of the name.")
    status: Literal["deploying", "running", "concerning", "abnormal"] | None = None
    sort_by: Literal["created_at", "cluster_name"] = "created_at"


class ClusterNodes(ResponseModel):
    """Nodes of a pool."""

    specification: str
    count: int
    available_count: int


class ClusterItem(ResponseModel):
    """A dedicated pool of the old generation; null means without a limit."""

    cluster_id: str
    cluster_name: str
    description: str
    tenant: str
    project: str
    owner: str
    created_at: Millis
    status: str
    nodes: ClusterNodes
    allocatable_cpu_cores: float | None
    allocatable_memory: int | None = Field(description="MB.")
    allocatable_gpus: float | None


class ListClustersResponse(ResponseModel):
    """Old dedicated pools."""

    total_count: int
    count: int
    clusters: list[ClusterItem]


class VersionLink(ResponseModel):
    """Where a version is."""

    rel: Literal["self"]
    href: str


class MediaType(ResponseModel):
    """What a version speaks."""

    base: str
    type: str


class ApiVersion(ResponseModel):
    """One version of an API."""

    id: str
    status: str
    updated: str
    links: list[VersionLink]
    media_types: list[MediaType] = Field(alias="media-types")


class ApiVersionList(ResponseModel):
    """Versions of the identity API."""

    values: list[ApiVersion]


class ListApiVersionsResponse(ResponseModel):
    """What is spoken here."""

    versions: ApiVersionList


class ShowApiVersionResponse(ResponseModel):
    """The version at this address."""

    version: ApiVersion
