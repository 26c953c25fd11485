"""The OpenAPI document: FastAPI's, with the bodies and queries that routes declare beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_type_hints

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from modelyard import __version__
from modelyard.api.contract.declare import BodyOf, JsonObject, QueryOf
from modelyard.api.contract.predictions import MODELS, prediction_paths
from modelyard.api.schemas.errors import ErrorResponse

_BESIDE = ("title", "description")
_REF = "#/components/schemas/{model}"
_ABOUT = """\
Self-hosted model serving that speaks the ModelArts service API.

Send a token in `X-Auth-Token`; `POST /v3/auth/tokens` gives one in `X-Subject-Token`. A body is
read as JSON whatever its content type, and null counts as left out. All problems of a request are
reported at once, each with its reason and remedy. Members and parameters that are called
extensions are not part of the ModelArts API.

Any call may also be answered by the gateway, in the same error shape: 408 when a request does not
arrive in time, 413 for a body above 12 MB, 414 and 431 for a URL or headers that are too long, 426
and 501 for protocols and encodings that it does not support.
"""
_TAGS = (
    ("services", "Real-time and batch services (services.md)."),
    ("predictions", "Calls to a service's models, answered by Envoy (inference.md)."),
    ("models", "Model packages and images (models.md)."),
    ("time travel", "Extension: revisions, and what served when (docs/changes.md)."),
    ("batch runs", "Extension: runs of batch services (docs/batch.md)."),
    ("resources", "Flavors and dedicated pools (resources.md)."),
    ("identity", "Tokens, projects, users, roles, in Keystone's shape (iam.md)."),
    ("discovery", "Version documents."),
)


def openapi_document(routers: Sequence[APIRouter]) -> JsonObject:
    """The contract of ``routers``, as ``/openapi.json`` answers it and the repository keeps it.

    It names no address: clients are given the platform's.
    """
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    document = get_openapi(
        title="Modelyard",
        version=__version__,
        description=_ABOUT,
        routes=routes,
        tags=[{"name": name, "description": about} for name, about in _TAGS],
    )
    used: list[type[BaseModel]] = [ErrorResponse, *MODELS]
    for operation, route in _operations(document, routes):
        used += _declare(operation, route)
    document["paths"] |= prediction_paths()
    schemas: JsonObject = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _, made = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(used)], ref_template=_REF
    )
    schemas |= made["$defs"]
    for schema in schemas.values():
        for member in schema.get("properties", {}).values():
            member.pop("title", None)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _operations(
    document: JsonObject, routes: Sequence[APIRoute]
) -> Iterator[tuple[JsonObject, APIRoute]]:
    for route in routes:
        if route.include_in_schema:
            for method in route.methods or ():
                yield document["paths"][route.path_format][method.lower()], route


def _declare(operation: JsonObject, route: APIRoute) -> list[type[BaseModel]]:
    """Put the body and the query of ``route`` into its ``operation``; the models that need be."""
    # FastAPI's own refusal of a body or query, which the application answers as 400.
    if 422 not in route.responses:
        operation["responses"].pop("422", None)
    operation["responses"] = dict(sorted(operation["responses"].items()))
    for parameter in operation.get("parameters", ()):
        schema = _plain(parameter["schema"])
        parameter["required"] |= schema.pop("x-required", False)
        parameter["schema"] = schema
    found: list[type[BaseModel]] = []
    for mark in _marks(route):
        if isinstance(mark, QueryOf):
            operation.setdefault("parameters", []).extend(_parameters(mark.model))
        else:
            found.append(mark.model)
            ref = {"$ref": _REF.format(model=mark.model.__name__)}
            operation["requestBody"] = {
                "required": mark.required,
                "content": {"application/json": {"schema": ref}},
            }
    return found


def _marks(route: APIRoute) -> Iterator[BodyOf | QueryOf]:
    for hint in get_type_hints(route.endpoint, include_extras=True).values():
        for mark in getattr(hint, "__metadata__", ()):
            if isinstance(mark, BodyOf | QueryOf):
                yield mark


def _parameters(model: type[BaseModel]) -> Iterator[JsonObject]:
    schema = model.model_json_schema(by_alias=True)
    required = schema.get("required", ())
    for name, member in schema["properties"].items():
        about = {"description": member["description"]} if "description" in member else {}
        examples = {"example": member.pop("examples")[0]} if "examples" in member else {}
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            **about,
            "schema": _plain(member),
            **examples,
        }


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter without null, as it cannot be sent, and what stands beside it."""
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in _BESIDE}
    if len(choices) == 1:
        return {**{key: value for key, value in rest.items() if key != "anyOf"}, **choices[0]}
    return rest
