"""Administration in Keystone's shape: projects, users and roles of the caller's domain."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.api.context import Context, ContextDep
from modelyard.api.deps import ClaimsDep
from modelyard.api.routes.keystone import IdentityRoute
from modelyard.api.schemas.iam import (
    Document,
    NewProjectRequest,
    NewUserRequest,
    project_document,
    user_document,
)
from modelyard.domain.roles import ROLES, role_document, role_named
from modelyard.errors import Conflict, Forbidden, NotFound
from modelyard.iam.claims import Claims
from modelyard.iam.passwords import hash_password
from modelyard.steps import Step
from modelyard.store import identities
from modelyard.store.tables.iam import Domain, Project, User

router = APIRouter(tags=["identity"], route_class=IdentityRoute)

_ROLE_PATH = "/v3/projects/{project_id}/users/{user_id}/roles"


async def require_admin(session: AsyncSession, claims: Claims, domain_id: str | None) -> str:
    """The domain to act on: the caller's own, which they must administer now.

    Raises ``Forbidden`` for everyone else and for every other domain.
    """
    target = domain_id or claims.domain_id
    caller = await identities.find_user(session, id_=claims.user_id)
    if (
        caller is None
        or not caller.enabled
        or target != claims.domain_id
        or not await identities.administers(session, claims.user_id, target)
    ):
        raise Forbidden("Only an administrator of the domain may do this.")
    return target


async def require_user(session: AsyncSession, claims: Claims, user_id: str) -> User:
    """A user of the domain that the caller administers.

    Raises ``Forbidden`` for other callers, ``NotFound`` when there is none.
    """
    domain_id = await require_admin(session, claims, None)
    user = await identities.find_user(session, id_=user_id, domain_id=domain_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


@router.post("/v3/projects", status_code=201)
async def create_project(
    body: NewProjectRequest, context: ContextDep, claims: ClaimsDep
) -> Document:
    """A new, empty project; give users a role on it next."""
    wanted = body.project
    async with context.database.write(Step.PROJECT_CREATE) as session:
        domain_id = await require_admin(session, claims, wanted.domain_id)
        if wanted.parent_id not in (None, domain_id):
            raise Forbidden("project.parent_id must be the domain: projects do not nest.")
        if await identities.name_taken(session, Project, domain_id, wanted.name):
            raise Conflict(f"project.name: a project {wanted.name!r} exists.")
        project = Project(
            id=context.clock.new_hex(),
            domain_id=domain_id,
            name=wanted.name,
            description=wanted.description or "",
            enabled=wanted.enabled,
            created_at=context.clock.now_ms(),
        )
        await _insert(session, project)
    return {"project": project_document(project, context.settings.gateway.public_address)}


@router.get("/v3/users")
async def list_users(context: ContextDep, claims: ClaimsDep, name: str | None = None) -> Document:
    """The domain's users."""
    async with context.database.read() as session:
        domain_id = await require_admin(session, claims, None)
        found = await identities.users_of_domain(session, domain_id, name)
    address = context.settings.gateway.public_address
    return {
        "users": [user_document(user, address) for user in found],
        "links": {"self": f"{address}/v3/users", "next": None, "previous": None},
    }


@router.post("/v3/users", status_code=201)
async def create_user(body: NewUserRequest, context: ContextDep, claims: ClaimsDep) -> Document:
    """A new user; without a role on a project they can do nothing yet."""
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
        await _insert(session, user)
    return {"user": user_document(user, context.settings.gateway.public_address)}


@router.get("/v3/users/{user_id}")
async def show_user(user_id: str, context: ContextDep, claims: ClaimsDep) -> Document:
    """Oneself, or a user of the domain that the caller administers."""
    async with context.database.read() as session:
        if user_id == claims.user_id:
            user = await identities.find_user(session, id_=user_id)
        else:
            user = await require_user(session, claims, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return {"user": user_document(user, context.settings.gateway.public_address)}


@router.get("/v3/domains/{domain_id}")
async def show_domain(domain_id: str, context: ContextDep, claims: ClaimsDep) -> Document:
    """The caller's own domain."""
    async with context.database.read() as session:
        domain = await session.get(Domain, domain_id)
    if domain is None or domain.id != claims.domain_id:
        raise NotFound("There is no such domain.")
    return {"domain": _domain(domain)}


@router.get("/v3/domains")
async def list_domains(context: ContextDep, claims: ClaimsDep, name: str | None = None) -> Document:
    """The caller's own domain, in a list."""
    async with context.database.read() as session:
        domain = await session.get(Domain, claims.domain_id)
    found = [domain] if domain is not None and name in (None, domain.name) else []
    return {"domains": [_domain(domain) for domain in found], "links": _links(context, "domains")}


@router.get("/v3/roles")
async def list_roles(context: ContextDep, claims: ClaimsDep, name: str | None = None) -> Document:
    """The roles there are."""
    async with context.database.read() as session:
        await require_admin(session, claims, None)
    return {
        "roles": [role_document(role) for role in ROLES if name in (None, role)],
        "links": _links(context, "roles"),
    }


@router.get("/v3/roles/{role_id}")
async def show_role(role_id: str, context: ContextDep, claims: ClaimsDep) -> Document:
    """One role, by its id."""
    async with context.database.read() as session:
        await require_admin(session, claims, None)
    return {"role": role_document(_role(role_id))}


@router.get(_ROLE_PATH)
async def list_assignments(
    project_id: str, user_id: str, context: ContextDep, claims: ClaimsDep
) -> Document:
    """The user's roles on the project."""
    async with context.database.read() as session:
        project, user = await _both(session, claims, project_id, user_id)
        roles = await identities.roles_on(
            session, user.id, scope_type="project", scope_id=project.id
        )
    return {"roles": [role_document(role) for role in roles], "links": _links(context, "roles")}


@router.put(_ROLE_PATH + "/{role_id}", status_code=204)
async def assign_role(
    project_id: str, user_id: str, role_id: str, context: ContextDep, claims: ClaimsDep
) -> Response:
    """Give the user the role (id or name) on the project. Idempotent."""
    async with context.database.write(Step.ROLE_GRANT) as session:
        project, user = await _both(session, claims, project_id, user_id)
        await identities.grant(
            session, user.id, _role(role_id), scope_type="project", scope_id=project.id
        )
    return Response(status_code=204)


@router.delete(_ROLE_PATH + "/{role_id}", status_code=204)
async def unassign_role(
    project_id: str, user_id: str, role_id: str, context: ContextDep, claims: ClaimsDep
) -> Response:
    """Take the role away; tokens that carry it live on until they expire."""
    async with context.database.write(Step.ROLE_REVOKE) as session:
        project, user = await _both(session, claims, project_id, user_id)
        if not await identities.revoke(
            session, user.id, _role(role_id), scope_type="project", scope_id=project.id
        ):
            raise NotFound("The user does not have this role on the project.")
    return Response(status_code=204)


async def _both(
    session: AsyncSession, claims: Claims, project_id: str, user_id: str
) -> tuple[Project, User]:
    user = await require_user(session, claims, user_id)
    project = await session.get(Project, project_id)
    if project is None or project.domain_id != user.domain_id:
        raise NotFound("There is no such project.")
    return project, user


async def _insert(session: AsyncSession, row: Project | User) -> None:
    session.add(row)
    try:
        await session.flush()
    except IntegrityError:
        # On PostgreSQL another writer may have taken the name since we looked.
        raise Conflict(f"name: {row.name!r} exists.") from None


def _role(name_or_id: str) -> str:
    role = role_named(name_or_id)
    if role is None:
        raise NotFound(f"There is no such role; the roles are {', '.join(ROLES)}.")
    return role


def _domain(domain: Domain) -> Document:
    return {"id": domain.id, "name": domain.name, "enabled": True, "description": ""}


def _links(context: Context, kind: str) -> Document:
    return {
        "self": f"{context.settings.gateway.public_address}/v3/{kind}",
        "next": None,
        "previous": None,
    }


@router.post("/v3/signing-keys", status_code=201)
async def rotate_signing_keys(context: ContextDep, claims: ClaimsDep) -> Document:
    """Ours: sign tokens with a new key. Tokens signed with former keys stay good until they end."""
    async with context.database.read() as session:
        await require_admin(session, claims, None)
    jwks = await context.tokens.rotate(
        lambda public: context.gateway.set_jwks({"keys": public["keys"]})
    )
    return {"keys": [{"id": key["kid"]} for key in jwks["keys"]]}
