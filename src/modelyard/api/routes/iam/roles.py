"""Roles, and who has them on which project (iam.md §4)."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import identity_answers
from modelyard.api.deps import ClaimsDep
from modelyard.api.routes.iam.keystone import IdentityRoute
from modelyard.api.routes.iam.permission import links, require_admin, require_user
from modelyard.api.schemas.iam import ListRolesResponse, RoleResponse
from modelyard.domain.roles import ROLES, role_document, role_named
from modelyard.errors import NotFound
from modelyard.iam.claims import Claims
from modelyard.steps import Step
from modelyard.store import identities
from modelyard.store.tables.iam import Project, User

router = APIRouter(tags=["identity"], route_class=IdentityRoute)

_ROLE_PATH = "/v3/projects/{project_id}/users/{user_id}/roles"


@router.get(
    "/v3/roles",
    operation_id="ListRoles",
    responses=identity_answers(ListRolesResponse, 401, 403),
)
async def list_roles(
    context: ContextDep, claims: ClaimsDep, name: str | None = None
) -> JSONResponse:
    """The roles there are."""
    async with context.database.read() as session:
        await require_admin(session, claims, None)
    return JSONResponse(
        {
            "roles": [role_document(role) for role in ROLES if name in (None, role)],
            "links": links(context, "roles"),
        }
    )


@router.get(
    "/v3/roles/{role_id}",
    operation_id="ShowRole",
    responses=identity_answers(RoleResponse, 401, 403, 404),
)
async def show_role(role_id: str, context: ContextDep, claims: ClaimsDep) -> JSONResponse:
    """One role, by its id."""
    async with context.database.read() as session:
        await require_admin(session, claims, None)
    return JSONResponse({"role": role_document(_role(role_id))})


@router.get(
    _ROLE_PATH,
    operation_id="ListRoleAssignments",
    responses=identity_answers(ListRolesResponse, 401, 403, 404),
)
async def list_assignments(
    project_id: str, user_id: str, context: ContextDep, claims: ClaimsDep
) -> JSONResponse:
    """The user's roles on the project."""
    async with context.database.read() as session:
        project, user = await _both(session, claims, project_id, user_id)
        roles = await identities.roles_on(
            session, user.id, scope_type="project", scope_id=project.id
        )
    return JSONResponse(
        {"roles": [role_document(role) for role in roles], "links": links(context, "roles")}
    )


@router.put(
    _ROLE_PATH + "/{role_id}",
    status_code=204,
    operation_id="AssignRole",
    responses=identity_answers(None, 401, 403, 404, status=204),
)
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


@router.delete(
    _ROLE_PATH + "/{role_id}",
    status_code=204,
    operation_id="UnassignRole",
    responses=identity_answers(None, 401, 403, 404, status=204),
)
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


def _role(name_or_id: str) -> str:
    role = role_named(name_or_id)
    if role is None:
        raise NotFound(f"There is no such role; the roles are {', '.join(ROLES)}.")
    return role
