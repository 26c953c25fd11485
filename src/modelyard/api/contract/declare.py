"""How a route declares its part of the contract.

Bodies and queries are read by the platform's own readers, which report every problem at once; what
they accept is declared beside them::

    async def update(body: Annotated[JsonBody, BodyOf(UpdateServiceRequest)]) -> JSONResponse: ...

``answers`` gives a route's ``responses``. Answers are declared and not checked when they are made:
the tests check every one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from modelyard.api.schemas.errors import ErrorResponse, IdentityErrorResponse

JsonObject = dict[str, Any]
Responses = dict[int | str, JsonObject]

_ALWAYS = (400, 500, 503)
_OF_PROJECTS = (401, 403)


@dataclass(frozen=True, slots=True)
class BodyOf:
    """The model of a body; ``required`` False: it may be left out."""

    model: type[BaseModel]
    required: bool = True


@dataclass(frozen=True, slots=True)
class QueryOf:
    """The model of a query."""

    model: type[BaseModel]


REQUIRED: JsonObject = {"x-required": True}
"""Of a parameter that is refused in words when it is missing, which FastAPI must not know."""

ETAG: JsonObject = {
    "ETag": {
        "description": "The state of the service, for `If-Match`.",
        "schema": {"type": "string"},
    }
}
REPLAYED: JsonObject = {
    "Idempotent-Replayed": {
        "description": "`true` where this is the answer to an earlier, equal call.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
SUBJECT_TOKEN: JsonObject = {
    "X-Subject-Token": {"description": "The token.", "schema": {"type": "string"}}
}


def answers(
    model: type[BaseModel] | None,
    *errors: int,
    status: int = 200,
    headers: Mapping[str, JsonObject] | None = None,
) -> Responses:
    """``responses`` of a route of a project: its own answer, ``errors``, and what all may answer.

    ``model`` None: it has no content, or never succeeds where ``status`` is an error.
    """
    return _own(model, status, headers) | _errors(ErrorResponse, (*_OF_PROJECTS, *errors))


def identity_answers(
    model: type[BaseModel] | None,
    *errors: int,
    status: int = 200,
    headers: Mapping[str, JsonObject] | None = None,
) -> Responses:
    """The same of a route of the identity API, whose errors have Keystone's shape."""
    return _own(model, status, headers) | _errors(IdentityErrorResponse, errors)


def open_answers(model: type[BaseModel]) -> Responses:
    """The same of a route that needs no token."""
    return _own(model, 200, None) | _errors(ErrorResponse, ())


def _own(
    model: type[BaseModel] | None, status: int, headers: Mapping[str, JsonObject] | None
) -> Responses:
    if status >= HTTPStatus.BAD_REQUEST:
        return {}
    own: JsonObject = {"description": HTTPStatus(status).phrase}
    if model is not None:
        own["model"] = model
    if headers:
        own["headers"] = dict(headers)
    return {status: own}


def _errors(shape: type[BaseModel], statuses: tuple[int, ...]) -> Responses:
    return {
        # Faults of the platform, and what the gateway answers in its place, have one shape.
        status: {
            "model": shape if status < 500 else ErrorResponse,
            "description": HTTPStatus(status).phrase,
        }
        for status in sorted({*_ALWAYS, *statuses})
    }
