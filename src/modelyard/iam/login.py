"""From an authentication request to the claims of a new token (iam.md §1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.errors import InvalidRequest, NotFound, Unauthenticated
from modelyard.iam.passwords import verify_password
from modelyard.iam.tokens import Named, Tokens
from modelyard.store import identities
from modelyard.store.database import Database
from modelyard.store.tables.iam import Domain, Project, User

WRONG_PASSWORD = "The username or password is wrong."  # noqa: S105


class ScopeKind(StrEnum):
    """``DEFAULT``: the user's only project, or none when there is not exactly one."""

    DEFAULT = "default"
    UNSCOPED = "unscoped"
    PROJECT = "project"
    DOMAIN = "domain"


@dataclass(frozen=True, slots=True)
class Reference:
    """Something named by id, or by name (and, for users and projects, its domain)."""

    id: str | None = None
    name: str | None = None
    domain: Reference | None = None


@dataclass(frozen=True, slots=True)
class RequestedScope:
    kind: ScopeKind
    target: Reference = Reference()


@dataclass(frozen=True, slots=True)
class Login:
    """Who logged in, for what. ``not_after``: the token may not live longer (re-scoping)."""

    user: Named
    domain: Named
    project: Named | None
    roles: tuple[str, ...]
    not_after: int | None = None


async def by_password(
    database: Database, user: Reference, password: str, scope: RequestedScope
) -> Login:
    """Log in with a password.

    Raises ``Unauthenticated`` for every wrong user or password alike, ``NotFound`` for a scope
    that does not exist or is not the user's.
    """
    async with database.read() as session:
        found = await _find(session, user)
    # Hashing takes tens of milliseconds: no session is held meanwhile.
    right = await verify_password(found.password_hash if found else None, password)
    if not right or found is None or not found.enabled:
        raise Unauthenticated(WRONG_PASSWORD)
    async with database.read() as session:
        return await _scoped(session, found, scope, None)


async def by_token(database: Database, tokens: Tokens, token: str, scope: RequestedScope) -> Login:
    """Trade a token for one of another scope; the new one ends when the old one would.

    Raises as ``by_password`` and ``Tokens.verify`` do.
    """
    claims = tokens.verify(token)
    async with database.read() as session:
        user = await identities.find_user(session, id_=claims.user_id)
        if user is None or not user.enabled:
            raise Unauthenticated("The token's user does not exist any more.")
        return await _scoped(session, user, scope, claims.expires_at)


async def _find(session: AsyncSession, user: Reference) -> User | None:
    if user.id is not None:
        return await identities.find_user(session, id_=user.id)
    if user.name is None or user.domain is None:
        raise InvalidRequest(
            "auth.identity.password.user needs an id, or a name with domain.name or domain.id."
        )
    domain = await _domain(session, user.domain)
    if domain is None:
        return None
    return await identities.find_user(session, name=user.name, domain_id=domain.id)


async def _domain(session: AsyncSession, domain: Reference) -> Domain | None:
    if domain.id is None and domain.name is None:
        raise InvalidRequest("A domain needs an id or a name.")
    return await identities.find_domain(session, id_=domain.id, name=domain.name)


async def _scoped(
    session: AsyncSession, user: User, scope: RequestedScope, not_after: int | None
) -> Login:
    domain = await identities.find_domain(session, id_=user.domain_id)
    assert domain is not None, "a foreign key holds it"
    who: Named = {"id": user.id, "name": user.name}
    home: Named = {"id": domain.id, "name": domain.name}
    if scope.kind is ScopeKind.DOMAIN:
        wanted = await _domain(session, scope.target)
        roles = await identities.roles_on(
            session, user.id, scope_type="domain", scope_id=wanted.id if wanted else ""
        )
        if wanted is None or wanted.id != domain.id or not roles:
            raise NotFound("The domain of auth.scope does not exist, or you have no role on it.")
        return Login(who, home, None, roles, not_after)
    project = await _project(session, user, scope)
    if project is None:
        return Login(who, home, None, (), not_after)
    roles = await identities.roles_on(session, user.id, scope_type="project", scope_id=project.id)
    return Login(who, home, {"id": project.id, "name": project.name}, roles, not_after)


async def _project(session: AsyncSession, user: User, scope: RequestedScope) -> Project | None:
    """The project to scope to, out of the user's own; None for an unscoped token."""
    if scope.kind is ScopeKind.UNSCOPED:
        return None
    own = [p for p in await identities.projects_of_user(session, user.id) if p.enabled]
    if scope.kind is ScopeKind.DEFAULT:
        return own[0] if len(own) == 1 else None
    target = scope.target
    if target.id is None and target.name is None:
        raise InvalidRequest("auth.scope.project needs an id or a name.")
    domain_id = user.domain_id
    if target.id is None and target.domain is not None:
        domain = await _domain(session, target.domain)
        domain_id = domain.id if domain else ""
    for project in own:
        if target.id is not None:
            if project.id == target.id:
                return project
        elif project.name == target.name and project.domain_id == domain_id:
            return project
    # The same words for a project that is not there and one that is somebody else's.
    raise NotFound("The project of auth.scope does not exist, or you have no role on it.")
