"""Routes that answer errors in the identity API's own shape (iam.md §1)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from modelyard.errors import ModelyardError


def identity_error(
    status: int, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """``{"error": {"code", "message", "title"}}``."""
    error = {"code": status, "message": message, "title": HTTPStatus(status).phrase}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


class IdentityRoute(APIRoute):
    """A route below ``/v3``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            # No name or id holds one, and PostgreSQL cannot even compare with it.
            if "\x00" in "".join((request.url.path, *request.query_params.values())):
                return identity_error(400, "The URL holds a NUL character.")
            try:
                return await handle(request)
            except ModelyardError as error:
                return identity_error(error.status, error.message)
            except HTTPException as error:
                if error.status_code != HTTPStatus.BAD_REQUEST:
                    raise
                # FastAPI's answer to a body that it cannot even decode.
                return identity_error(400, "The body cannot be read: send JSON in UTF-8.")
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
                return identity_error(400, f"{where}: {first['msg']}.")

        return answer
