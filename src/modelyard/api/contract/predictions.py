"""The paths of predictions, which Envoy answers or forwards to instances (inference.md §1)."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import BaseModel

from modelyard.api.contract.declare import JsonObject
from modelyard.api.schemas.errors import ErrorResponse, ModelErrorResponse
from modelyard.api.schemas.service_requests import PredictionRequest

MODELS: tuple[type[BaseModel], ...] = (
    ErrorResponse,
    ModelErrorResponse,
    PredictionRequest,
)
"""The models that the paths refer to."""

SERVICE = "/v1/infers/{service_id}"
BELOW = "/v1/infers/{service_id}/{path}"

_ABOUT = """\
Sends one prediction to an instance of the service, and answers what the model answers.

The gateway picks the version by the weights of the service. The body has the form that the model's
apis declare: JSON, or `multipart/form-data` for files. Bodies may have 12 MB, and an answer takes
40 s at most unless the operator allows more.
"""
_ERRORS = {
    400: "The service is not running (`ModelArts.4203`), or the request is malformed. Models "
    "answer 400, too, for input that they cannot read.",
    401: "The token is missing, has expired or is not valid.",
    403: "The token has no project or belongs to another one.",
    404: "There is no such service, or it has no such api.",
    405: "The service takes other methods; `Allow` names them.",
    408: "The request did not arrive completely in time.",
    413: "The body is too large for this service.",
    429: "Too many requests.",
    503: "No instance could answer.",
    504: "The model did not answer in time.",
}
_ANSWERED_BY = {
    "X-Request-Id": "Names the prediction, for `GET …/services/{service_id}/requests/{id}`.",
    "X-Modelyard-Revision": "The revision of the service that answered.",
}


def prediction_paths() -> JsonObject:
    """``paths`` of the OpenAPI document for predictions."""
    return {
        SERVICE: {"post": _operation("Predict", "Predict", [_SERVICE_ID])},
        BELOW: {
            "post": _operation("PredictAtPath", "Predict at an api's path", [_SERVICE_ID, _PATH]),
            "get": _operation(
                "GetAtPath",
                "Ask an api that takes GET",
                [_SERVICE_ID, _PATH],
                body=False,
            ),
        },
    }


_SERVICE_ID: JsonObject = {
    "name": "service_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
}
_PATH: JsonObject = {
    "name": "path",
    "in": "path",
    "required": True,
    "description": "The url of one of the model's apis, without its first slash.",
    "schema": {"type": "string"},
}


def _operation(
    operation_id: str, summary: str, parameters: list[JsonObject], *, body: bool = True
) -> JsonObject:
    about = _ABOUT if body else "Open Inference metadata below `v2`, and apis that declare GET."
    operation: JsonObject = {
        "tags": ["predictions"],
        "summary": summary,
        "description": about,
        "operationId": operation_id,
        "security": [{"X-Auth-Token": []}],
        "parameters": parameters,
        "responses": {"200": _answer(), **_errors()},
    }
    if body:
        operation["requestBody"] = {
            "required": True,
            "content": _content("PredictionRequest"),
        }
    return operation


def _answer() -> JsonObject:
    return {
        "description": "What the model answers; it may choose another status and content type.",
        "headers": {
            name: {"description": about, "schema": {"type": "string"}}
            for name, about in _ANSWERED_BY.items()
        },
        "content": {"application/json": {"schema": {}}},
    }


def _errors() -> JsonObject:
    refused = _content("ErrorResponse")
    found: JsonObject = {
        str(status): {"description": about, "content": refused} for status, about in _ERRORS.items()
    }
    failed = f"{HTTPStatus(500).phrase}: the model failed to compute it."
    found["500"] = {"description": failed, "content": _content("ModelErrorResponse")}
    return dict(sorted(found.items()))


def _content(name: str) -> JsonObject:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
