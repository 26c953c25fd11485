"""Who calls, for which project, with which permission: declared on each route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Path, Request, Security
from fastapi.security import APIKeyHeader

from modelyard.api.context import ContextDep
from modelyard.errors import Forbidden, InvalidRequest, Unauthenticated
from modelyard.iam.claims import Claims
from modelyard.packages.documents import unstorable

_SCHEME = APIKeyHeader(
    name="X-Auth-Token",
    scheme_name="X-Auth-Token",
    description="A token of `POST /v3/auth/tokens`, for the project in the path.",
    # What is wrong is said by ``authenticated``.
    auto_error=False,
)
TokenHeader = Annotated[str | None, Security(_SCHEME)]


async def authenticated(context: ContextDep, x_auth_token: TokenHeader = None) -> Claims:
    """The verified caller, whatever the scope.

    Raises ``Unauthenticated`` (iam.md §5).
    """
    if not x_auth_token:
        raise Unauthenticated(
            "The X-Auth-Token header is missing. Get a token from POST /v3/auth/tokens.",
            code="0201",
        )
    return context.tokens.verify(x_auth_token)


ClaimsDep = Annotated[Claims, Depends(authenticated)]


def may(action: str) -> Callable[[Request, Claims, str], Awaitable[Claims]]:
    """A dependency that lets in callers of the path's project that may do ``action``.

    ``action`` is one of iam.md §4 (``modelarts:service:update``). Raises ``Unauthenticated`` for
    a token without a project, ``Forbidden`` 0210 for one of another project.
    """

    async def check(
        request: Request, claims: ClaimsDep, project_id: Annotated[str, Path()]
    ) -> Claims:
        if claims.project_id is None:
            raise Unauthenticated(
                "The token has no project. Ask for one with scope.project.", code="0212"
            )
        if claims.project_id != project_id:
            raise Forbidden(
                f"The token belongs to another project than the URL's {project_id!r}.", code="0210"
            )
        for name, value in request.query_params.items():
            if unstorable(value):
                raise InvalidRequest(f"{name[:40]!r}: holds a character no filter can match.")
        return claims

    check.__name__ = action.replace(":", "_")
    return check
