"""Tokens and the catalogue (iam.md §1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse

from modelyard.api.context import Context, ContextDep
from modelyard.api.contract.declare import REQUIRED, SUBJECT_TOKEN, JsonObject, identity_answers
from modelyard.api.deps import ClaimsDep
from modelyard.api.routes.iam.keystone import IdentityRoute
from modelyard.api.routes.iam.login import log_in
from modelyard.api.schemas.iam import AuthRequest, CatalogResponse, TokenResponse
from modelyard.api.views.iam import Document, token_document
from modelyard.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from modelyard.iam.catalogue import catalogue
from modelyard.iam.claims import Claims
from modelyard.store import identities

router = APIRouter(tags=["identity"], route_class=IdentityRoute)

NO_CATALOG: JsonObject = {
    "name": "nocatalog",
    "in": "query",
    "required": False,
    "description": "Leaves the catalogue out, whatever its value.",
    "schema": {"type": "string"},
}


@router.post(
    "/v3/auth/tokens",
    status_code=201,
    operation_id="CreateToken",
    openapi_extra={"parameters": [NO_CATALOG]},
    responses=identity_answers(TokenResponse, 401, 404, 413, status=201, headers=SUBJECT_TOKEN),
)
async def create_token(request: Request, body: AuthRequest, context: ContextDep) -> JSONResponse:
    """Create a token for a user's password or for another token; it is in ``X-Subject-Token``."""
    method, login = await log_in(context, body.auth)
    token, claims = context.tokens.issue(
        user=login.user,
        domain=login.domain,
        project=login.project,
        roles=login.roles,
        not_after=login.not_after,
    )
    body_of_token = _token_body(context, claims, method, request)
    headers = {"X-Subject-Token": token, "Vary": "X-Auth-Token"}
    return JSONResponse(body_of_token, status_code=201, headers=headers)


@router.get(
    "/v3/auth/tokens",
    operation_id="ShowToken",
    openapi_extra={"parameters": [NO_CATALOG]},
    responses=identity_answers(TokenResponse, 401, 403, 404, headers=SUBJECT_TOKEN),
)
@router.head("/v3/auth/tokens", include_in_schema=False)
async def show_token(
    request: Request,
    context: ContextDep,
    claims: ClaimsDep,
    x_subject_token: Annotated[
        str | None,
        Header(description="The token to show.", json_schema_extra={**REQUIRED, "minLength": 1}),
    ] = None,
) -> JSONResponse:
    """Show what a token holds. 404 when it is not valid; another user's only for administrators."""
    if not x_subject_token:
        raise InvalidRequest("The X-Subject-Token header is missing.")
    try:
        subject = context.tokens.verify(x_subject_token)
    except Unauthenticated:
        raise NotFound("The token of X-Subject-Token is not valid.") from None
    async with context.database.read() as session:
        if subject.user_id != claims.user_id and not await identities.administers(
            session, claims.user_id, subject.domain_id
        ):
            raise Forbidden("Only administrators may look at other users' tokens.")
        user = await identities.find_user(session, id_=subject.user_id)
    if user is None or not user.enabled:
        raise NotFound("The token of X-Subject-Token is not valid.")
    body = _token_body(context, subject, "password", request)
    return JSONResponse(body, headers={"X-Subject-Token": x_subject_token})


@router.get(
    "/v3/auth/catalog",
    operation_id="ShowCatalog",
    responses=identity_answers(CatalogResponse, 401),
)
def show_catalog(context: ContextDep, claims: ClaimsDep) -> JSONResponse:
    """The service catalogue of the caller's token."""
    settings = context.settings
    return JSONResponse(
        {
            "catalog": catalogue(
                settings.gateway.public_address, settings.iam.region, claims.project_id
            ),
            "links": {"self": f"{settings.gateway.public_address}/v3/auth/catalog"},
        }
    )


def _token_body(context: Context, claims: Claims, method: str, request: Request) -> Document:
    settings = context.settings
    entries = (
        []
        if "nocatalog" in request.query_params
        else catalogue(settings.gateway.public_address, settings.iam.region, claims.project_id)
    )
    return token_document(claims, [method], [dict(entry) for entry in entries])
