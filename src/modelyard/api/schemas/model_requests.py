"""Bodies and query parameters of the calls on models (models.md §1)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from modelyard.api.schemas.base import (
    JsonObject,
    ListText,
    ObjectText,
    OpenRequestModel,
    RequestModel,
    optional_whole,
)
from modelyard.api.schemas.service_requests import PageQuery

_CLEAN = "^[^&!'\"<>=]*$"
Method = Literal["post", "get"]
ParameterType = Literal[
    "int",
    "string",
    "float",
    "timestamp",
    "date",
    "file",
    "integer",
    "number",
    "boolean",
    "object",
    "array",
]
ModelType = Literal[
    "TensorFlow",
    "PyTorch",
    "MindSpore",
    "MXNet",
    "Caffe",
    "XGBoost",
    "Scikit_Learn",
    "Spark_MLlib",
    "ONNX",
    "Pickle",
    "Joblib",
    "Safetensors",
    "Image",
    "Custom",
]


class ModelApi(OpenRequestModel):
    """One way to call a model (models.md §3.1), in the form of the call or of config.json."""

    url: str | None = Field(None, description="`/` for packages.", examples=["/"])
    method: Method | None = None
    protocol: Literal["http", "https"] | None = None
    input_params: JsonObject | None = Field(None, description="JSON Schema of the request.")
    output_params: JsonObject | None = Field(None, description="JSON Schema of the answer.")
    request: JsonObject | None = Field(None, description="`Content-type` and `data`, its schema.")
    response: JsonObject | None = None


class ModelParameter(RequestModel):
    """A parameter of an api."""

    url: str = Field(pattern="^/", max_length=1000)
    protocol: Literal["http", "https"]
    method: Method
    param_name: str = Field(min_length=1, max_length=64)
    param_type: ParameterType
    min: float | None = None
    max: float | None = None
    param_desc: str | None = Field(None, max_length=100)


class Package(OpenRequestModel):
    """A package to install."""

    package_name: str = Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$", examples=["Pillow"]
    )
    package_version: str | None = Field(None, pattern="^([A-Za-z0-9][A-Za-z0-9.!+_*-]{0,63})?$")
    restraint: Literal["", "EXACT", "ATLEAST", "ATMOST"] | None = None


class Dependency(OpenRequestModel):
    """What a package wants installed (models.md §3.4)."""

    installer: Literal["pip"] | None = None
    packages: list[Package] | None = None


class ModelDoc(RequestModel):
    """A document about the model."""

    doc_name: str = Field(pattern=r"^[A-Za-z]", max_length=48)
    doc_url: str = Field(pattern=r"^https?://[A-Za-z0-9]", max_length=1000)


class Probe(OpenRequestModel):
    """How an instance is asked whether it is well (models.md §3.5); for images."""

    url: str | None = Field(None, pattern=r"^(/[^ ]*)?$")
    protocol: Literal["", "http"] | None = None
    check_method: Literal["", "HTTP"] | None = None
    period_seconds: Annotated[int | str | None, optional_whole(1, 2**31 - 1)] = None
    initial_delay_seconds: Annotated[int | str | None, optional_whole(0, 2**31 - 1)] = None
    timeout_seconds: Annotated[int | str | None, optional_whole(1, 2**31 - 1)] = None
    failure_threshold: Annotated[int | str | None, optional_whole(1, 2**31 - 1)] = None


class ModelMetrics(OpenRequestModel):
    """Numbers about the model's quality."""

    f1: float | None = Field(None, ge=-1e300, le=1e300)
    recall: float | None = Field(None, ge=-1e300, le=1e300)
    precision: float | None = Field(None, ge=-1e300, le=1e300)
    accuracy: float | None = Field(None, ge=-1e300, le=1e300)


class CreateModelRequest(RequestModel):
    """A package or an image to import (models.md §1.1). Blank and null count as left out."""

    model_name: Annotated[
        str | None,
        WithJsonSchema(
            {"anyOf": [{"type": "string", "pattern": r"^[\p{L}\p{N}_-]{1,64}$"}, {"type": "null"}]}
        ),
    ] = Field(None, description="Made up when it is left out.", examples=["iris"])
    model_version: str = Field(
        pattern=r"^(0|[1-9][0-9]?)\.(0|[1-9][0-9]?)\.(0|[1-9][0-9]?)$",
        description="Three numbers from 0 to 99; unique with the name.",
        examples=["0.0.1"],
    )
    source_location: str = Field(
        min_length=1,
        description="The folder of objects that contains `model/`, or an image's address.",
        examples=["obs://bucket/iris/"],
    )
    model_type: ModelType = Field(description="In any case.")
    runtime: str | None = Field(None, description="One of the engine's, or an image's address.")
    description: str | None = Field(None, max_length=100, pattern=_CLEAN)
    initial_config: ObjectText | JsonObject | None = Field(
        None, description="A config.json, which takes the place of the package's."
    )
    execution_code: str | None = Field(None, description="Path of `customize_service.py`.")
    apis: list[ModelApi] | ListText | None = None
    input_params: list[ModelParameter] | ListText | None = None
    output_params: list[ModelParameter] | ListText | None = None
    dependencies: list[Dependency] | ListText | None = Field(None, description="Packages only.")
    dependency_policy: Literal["", "relaxed", "exact"] | None = Field(
        None, description="Extension: what happens to a version that cannot be had."
    )
    model_algorithm: str | None = Field(
        None, max_length=36, pattern="^([A-Za-z][^&!'\"<>=]*)?$", examples=["image_classification"]
    )
    model_metrics: ModelMetrics | ObjectText | None = None
    install_type: (
        list[Literal["real-time", "realtime", "batch"]]
        | Literal["real-time", "batch", "real-time,batch"]
        | None
    ) = Field(None, description="Which services may use it.")
    source_job_id: str | None = Field(None, pattern="^([A-Za-z0-9_.-]{1,128})?$")
    source_job_version: str | None = Field(None, pattern="^([A-Za-z0-9_.-]{1,128})?$")
    source_type: Literal["", "auto"] | None = None
    source_copy: Literal["true", "false", ""] | bool | None = Field(
        None, description="`false` for images only: follow what becomes of the address."
    )
    model_docs: Annotated[list[ModelDoc], Field(max_length=3)] | ListText | None = None
    workspace_id: Literal["0", ""] | None = None
    cmd: str | None = Field(None, max_length=4096, description="Images: the start command.")
    port: Annotated[int | str | None, optional_whole(1, 65535)] = Field(
        None, description="Images: where the container listens."
    )
    health: Probe | None = None
    readiness_health: Probe | None = None
    startup_health: Probe | None = None


class ListModelsQuery(PageQuery):
    """models.md §1.3."""

    model_name: str | None = Field(None, description="Part of the name.")
    exact_match: Literal["true", "false"] = "false"
    model_version: str | None = None
    model_status: (
        Literal["publishing", "published", "failed", "building", "building_failed"] | None
    ) = None
    description: str | None = Field(None, description="Part of it.")
    workspace_id: str | None = None
    model_type: str | None = None
    not_model_type: str | None = Field(None, description="Not together with `model_type`.")
    sort_by: Literal["create_at", "model_version", "model_size"] = "create_at"


class ListEngineRuntimesQuery(PageQuery):
    """models.md §1.7."""

    sort_by: Literal["ai_engine"] = "ai_engine"


class DeleteModelQuery(RequestModel):
    """models.md §1.5."""

    cascade: Literal["true", "false"] = Field(
        "false", description="true: all versions of the same name, at most 20."
    )
