"""Users, domains and signing keys, in Keystone's shape (iam.md §1)."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import identity_answers
from modelyard.api.deps import ClaimsDep
from modelyard.api.routes.iam.keystone import IdentityRoute
from modelyard.api.routes.iam.permission import insert, links, require_admin, require_user
from modelyard.api.schemas.iam import (
    DomainResponse,
    ListDomainsResponse,
    ListUsersResponse,
    NewUserRequest,
    SigningKeysResponse,
    UserResponse,
)
from modelyard.api.views.iam import Document, user_document
from modelyard.errors import Conflict, NotFound
from modelyard.iam.passwords import hash_password
from modelyard.steps import Step
from modelyard.store import identities
from modelyard.store.tables.iam import Domain, User

router = APIRouter(tags=["identity"], route_class=IdentityRoute)


@router.get(
    "/v3/users",
    operation_id="ListUsers",
    responses=identity_answers(ListUsersResponse, 401, 403),
)
async def list_users(
    context: ContextDep, claims: ClaimsDep, name: str | None = None
) -> JSONResponse:
    """The domain's users."""
    async with context.database.read() as session:
        domain_id = await require_admin(session, claims, None)
        found = await identities.users_of_domain(session, domain_id, name)
    address = context.settings.gateway.public_address
    return JSONResponse(
        {
            "users": [user_document(user, address) for user in found],
            "links": links(context, "users"),
        }
    )


@router.post(
    "/v3/users",
    status_code=201,
    operation_id="CreateUser",
    responses=identity_answers(UserResponse, 401, 403, 409, 413, status=201),
)
async def create_user(body: NewUserRequest, context: ContextDep, claims: ClaimsDep) -> JSONResponse:
    """Create a user, which can do nothing until it has a role on a project."""
    wanted = body.user
    async with context.database.read() as session:
        domain_id = await require_admin(session, claims, wanted.domain_id)
    password_hash = await hash_password(wanted.password)
    async with context.database.write(Step.USER_CREATE) as session:
        if await identities.name_taken(session, User, domain_id, wanted.name):
            raise Conflict(f"user.name: a user {wanted.name!r} exists.")
        user = User(
            id=context.clock.new_hex(),
            domain_id=domain_id,
            name=wanted.name,
            password_hash=password_hash,
            enabled=wanted.enabled,
            created_at=context.clock.now_ms(),
        )
        await insert(session, user)
    shown = user_document(user, context.settings.gateway.public_address)
    return JSONResponse({"user": shown}, status_code=201)


@router.get(
    "/v3/users/{user_id}",
    operation_id="ShowUser",
    responses=identity_answers(UserResponse, 401, 403, 404),
)
async def show_user(user_id: str, context: ContextDep, claims: ClaimsDep) -> JSONResponse:
    """The caller, or a user of the domain that the caller administers."""
    async with context.database.read() as session:
        if user_id == claims.user_id:
            user = await identities.find_user(session, id_=user_id)
        else:
            user = await require_user(session, claims, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return JSONResponse({"user": user_document(user, context.settings.gateway.public_address)})


@router.get(
    "/v3/domains/{domain_id}",
    operation_id="ShowDomain",
    responses=identity_answers(DomainResponse, 401, 404),
)
async def show_domain(domain_id: str, context: ContextDep, claims: ClaimsDep) -> JSONResponse:
    """The caller's own domain."""
    async with context.database.read() as session:
        domain = await session.get(Domain, domain_id)
    if domain is None or domain.id != claims.domain_id:
        raise NotFound("There is no such domain.")
    return JSONResponse({"domain": _domain(domain)})


@router.get(
    "/v3/domains",
    operation_id="ListDomains",
    responses=identity_answers(ListDomainsResponse, 401),
)
async def list_domains(
    context: ContextDep, claims: ClaimsDep, name: str | None = None
) -> JSONResponse:
    """The caller's own domain, in a list."""
    async with context.database.read() as session:
        domain = await session.get(Domain, claims.domain_id)
    found = [domain] if domain is not None and name in (None, domain.name) else []
    return JSONResponse(
        {"domains": [_domain(domain) for domain in found], "links": links(context, "domains")}
    )


def _domain(domain: Domain) -> Document:
    return {"id": domain.id, "name": domain.name, "enabled": True, "description": ""}


@router.post(
    "/v3/signing-keys",
    status_code=201,
    operation_id="RotateSigningKeys",
    responses=identity_answers(SigningKeysResponse, 401, 403, status=201),
)
async def rotate_signing_keys(context: ContextDep, claims: ClaimsDep) -> JSONResponse:
    """Sign tokens with a new key (an extension).

    Tokens that former keys have signed stay valid until they expire.
    """
    async with context.database.read() as session:
        await require_admin(session, claims, None)
    jwks = await context.tokens.rotate(
        lambda public: context.gateway.set_jwks({"keys": public["keys"]})
    )
    return JSONResponse({"keys": [{"id": key["kid"]} for key in jwks["keys"]]}, status_code=201)
