"""The application: routers, the contract, and the one place where errors become answers.

Envoy, its only client, gives every request and answer an ``X-Request-Id``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from modelyard import __version__
from modelyard.api.context import Context
from modelyard.api.contract.pages import add_pages
from modelyard.api.routes.iam.keystone import identity_error
from modelyard.errors import ModelyardError

log = structlog.get_logger(__name__)


def error_body(code: str, message: str) -> dict[str, Any]:
    """The API's error shape (iam.md §5).

    ``message`` is ours: OpenStack's clients print that member and no other.
    """
    full = f"ModelArts.{code}"
    return {"error_code": full, "error_msg": message, "message": f"{full}: {message}"}


async def _render(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ModelyardError)
    body = error_body(error.code, error.message)
    if error.problems:
        body["problems"] = [
            {"field": p.field, "reason": p.reason, "remedy": p.remedy} for p in error.problems
        ]
    return JSONResponse({**body, **error.members}, status_code=error.status)


async def _render_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # FastAPI's answer to a body it cannot even decode.
        unreadable = error_body("4105", "The body cannot be read: send JSON in UTF-8.")
        return JSONResponse(unreadable, status_code=400)
    known = {404: "0101", 405: "0101"}
    message = {
        404: f"{request.method} {request.url.path} is not part of this API.",
        405: f"{request.method} is not allowed on {request.url.path}.",
    }.get(error.status_code, str(error.detail))
    if request.url.path.startswith("/v3/"):  # also a path that no route has
        return identity_error(error.status_code, message, error.headers)
    return JSONResponse(
        error_body(known.get(error.status_code, "0101"), message),
        status_code=error.status_code,
        headers=error.headers,
    )


async def _render_validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        reason = str(first.get("ctx", {}).get("error", "not JSON"))
        return JSONResponse(
            error_body("4105", f"The body is not valid JSON: {reason}."), status_code=400
        )
    name = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return JSONResponse(
        error_body("3037", f"Parameter {name or 'body'} is invalid: {first['msg']}."),
        status_code=400,
    )


async def _render_surprise(request: Request, error: Exception) -> JSONResponse:
    log.error("request failed", path=request.url.path, exc_info=error)
    return JSONResponse(
        error_body("0010", "Internal error. The control plane's log has the details."),
        status_code=500,
    )


def create_app(context: Context, routers: Sequence[APIRouter]) -> FastAPI:
    """The control plane's HTTP surface over ``context``."""
    app = FastAPI(title="Modelyard", version=__version__, redirect_slashes=False, openapi_url=None)
    app.state.context = context
    for router in routers:
        app.include_router(router)
    add_pages(app, routers)
    app.add_exception_handler(ModelyardError, _render)
    app.add_exception_handler(HTTPException, _render_http)
    app.add_exception_handler(RequestValidationError, _render_validation)
    app.add_exception_handler(Exception, _render_surprise)
    return app
