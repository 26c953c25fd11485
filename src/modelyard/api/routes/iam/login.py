"""The body of a login, to who logs in and what for (iam.md §1)."""

from __future__ import annotations

from modelyard.api.context import Context
from modelyard.api.schemas.iam import Auth, DomainRef, ProjectRef
from modelyard.errors import InvalidRequest
from modelyard.iam.login import (
    Login,
    Reference,
    RequestedScope,
    ScopeKind,
    by_password,
    by_token,
)


async def log_in(context: Context, auth: Auth) -> tuple[str, Login]:
    """The method and the login. Raises ``InvalidRequest``, ``Unauthenticated`` or ``NotFound``."""
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
