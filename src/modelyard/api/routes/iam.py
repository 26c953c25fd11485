"""Tokens and the projects of their owner (iam.md §1, §2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from modelyard.api.context import Context, ContextDep
from modelyard.api.deps import ClaimsDep
from modelyard.api.routes import iam_admin
from modelyard.api.routes.keystone import IdentityRoute
from modelyard.api.schemas.iam import (
    Auth,
    AuthRequest,
    Document,
    DomainRef,
    ProjectRef,
    project_document,
    token_document,
)
from modelyard.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from modelyard.iam.catalogue import catalogue
from modelyard.iam.claims import Claims
from modelyard.iam.login import (
    Login,
    Reference,
    RequestedScope,
    ScopeKind,
    by_password,
    by_token,
)
from modelyard.store import identities
from modelyard.store.tables.iam import Project

router = APIRouter(tags=["identity"], route_class=IdentityRoute)


@router.post("/v3/auth/tokens", status_code=201)
async def create_token(
    request: Request, response: Response, body: AuthRequest, context: ContextDep
) -> Document:
    """A token for a user's password or for another token; it is in ``X-Subject-Token``."""
    method, login = await _log_in(context, body.auth)
    token, claims = context.tokens.issue(
        user=login.user,
        domain=login.domain,
        project=login.project,
        roles=login.roles,
        not_after=login.not_after,
    )
    response.headers["X-Subject-Token"] = token
    response.headers["Vary"] = "X-Auth-Token"
    return _token_body(context, claims, method, request)


@router.get("/v3/auth/tokens")
@router.head("/v3/auth/tokens", include_in_schema=False)
async def show_token(
    request: Request,
    response: Response,
    context: ContextDep,
    claims: ClaimsDep,
    x_subject_token: Annotated[str | None, Header()] = None,
) -> Document:
    """What a token says. 404 when it is not valid; another user's only for administrators."""
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
    response.headers["X-Subject-Token"] = x_subject_token
    return _token_body(context, subject, "password", request)


@router.get("/v3/auth/catalog")
def show_catalog(context: ContextDep, claims: ClaimsDep) -> Document:
    """The service catalogue of the caller's token."""
    settings = context.settings
    return {
        "catalog": catalogue(
            settings.gateway.public_address, settings.iam.region, claims.project_id
        ),
        "links": {"self": f"{settings.gateway.public_address}/v3/auth/catalog"},
    }


@router.get("/v3/auth/projects")
async def list_scopable_projects(context: ContextDep, claims: ClaimsDep) -> Document:
    """The projects that the caller may ask a token for."""
    async with context.database.read() as session:
        found = await identities.projects_of_user(session, claims.user_id)
    return _projects(context, found, "/v3/auth/projects")


@router.get("/v3/projects")
async def list_projects(
    context: ContextDep,
    claims: ClaimsDep,
    name: str | None = None,
    domain_id: str | None = None,
    enabled: bool | None = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=5000)] = 5000,
) -> Document:
    """The caller's projects; all of a domain for an administrator who names it."""
    async with context.database.read() as session:
        if domain_id is not None and await identities.administers(
            session, claims.user_id, domain_id
        ):
            found = await identities.projects_of_domain(session, domain_id)
        else:
            found = await identities.projects_of_user(session, claims.user_id)
    matching = [
        project
        for project in found
        if name in (None, project.name)
        and domain_id in (None, project.domain_id)
        and enabled in (None, project.enabled)
    ]
    start = (page - 1) * per_page
    return _projects(context, matching[start : start + per_page], "/v3/projects")


@router.get("/v3/projects/{project_id}")
async def show_project(project_id: str, context: ContextDep, claims: ClaimsDep) -> Document:
    """One of the caller's projects, or of the domain they administer."""
    async with context.database.read() as session:
        found = await session.get(Project, project_id)
        if found is not None:
            allowed = await identities.roles_on(
                session, claims.user_id, scope_type="project", scope_id=found.id
            ) or await identities.administers(session, claims.user_id, found.domain_id)
            if allowed:
                return {"project": project_document(found, context.settings.gateway.public_address)}
    raise NotFound("There is no such project.")


@router.get("/v3/users/{user_id}/projects")
async def list_user_projects(user_id: str, context: ContextDep, claims: ClaimsDep) -> Document:
    """The projects on which a user has a role: one's own, or anyone's for administrators."""
    async with context.database.read() as session:
        if user_id != claims.user_id:
            await iam_admin.require_user(session, claims, user_id)
        found = await identities.projects_of_user(session, user_id)
    return _projects(context, found, f"/v3/users/{user_id}/projects")


def _token_body(context: Context, claims: Claims, method: str, request: Request) -> Document:
    settings = context.settings
    entries = (
        []
        if "nocatalog" in request.query_params
        else catalogue(settings.gateway.public_address, settings.iam.region, claims.project_id)
    )
    return token_document(claims, [method], [dict(entry) for entry in entries])


def _projects(context: Context, projects: Sequence[Project], path: str) -> Document:
    address = context.settings.gateway.public_address
    return {
        "projects": [project_document(project, address) for project in projects],
        "links": {"self": f"{address}{path}", "next": None, "previous": None},
    }


async def _log_in(context: Context, auth: Auth) -> tuple[str, Login]:
    identity, scope = auth.identity, _scope(auth)
    if identity.methods == ["password"]:
        if identity.password is None:
            raise InvalidRequest("auth.identity.password is missing.")
        user = identity.password.user
        who = Reference(user.id, user.name, _reference(user.domain))
        return "password", await by_password(context.database, who, user.password, scope)
    if identity.methods == ["token"]:
        if identity.token is None:
            raise InvalidRequest("auth.identity.token is missing.")
        return "token", await by_token(context.database, context.tokens, identity.token.id, scope)
    raise InvalidRequest(
        'auth.identity.methods must be ["password"] or ["token"]; others are not supported.'
    )


def _scope(auth: Auth) -> RequestedScope:
    scope = auth.scope
    if scope is None:
        return RequestedScope(ScopeKind.DEFAULT)
    if scope == "unscoped":
        return RequestedScope(ScopeKind.UNSCOPED)
    if scope.system is not None:
        raise InvalidRequest("auth.scope.system is not supported; scope to a project or domain.")
    given = [kind for kind in ("project", "domain", "unscoped") if getattr(scope, kind) is not None]
    if len(given) != 1:
        raise InvalidRequest("auth.scope must hold exactly one of project and domain.")
    if scope.project is not None:
        return RequestedScope(ScopeKind.PROJECT, _project_reference(scope.project))
    if scope.domain is not None:
        return RequestedScope(ScopeKind.DOMAIN, Reference(scope.domain.id, scope.domain.name))
    return RequestedScope(ScopeKind.UNSCOPED)


def _reference(domain: DomainRef | None) -> Reference | None:
    return Reference(domain.id, domain.name) if domain else None


def _project_reference(project: ProjectRef) -> Reference:
    return Reference(project.id, project.name, _reference(project.domain))
