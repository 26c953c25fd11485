"""Projects: the caller's own, and those of a domain (iam.md §2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from modelyard.api.context import Context, ContextDep
from modelyard.api.contract.declare import identity_answers
from modelyard.api.deps import ClaimsDep
from modelyard.api.routes.iam.keystone import IdentityRoute
from modelyard.api.routes.iam.permission import insert, require_admin, require_user
from modelyard.api.schemas.iam import ListProjectsResponse, NewProjectRequest, ProjectResponse
from modelyard.api.views.iam import project_document
from modelyard.errors import Conflict, Forbidden, NotFound
from modelyard.steps import Step
from modelyard.store import identities
from modelyard.store.tables.iam import Project

router = APIRouter(tags=["identity"], route_class=IdentityRoute)


@router.get(
    "/v3/auth/projects",
    operation_id="ListAuthProjects",
    responses=identity_answers(ListProjectsResponse, 401),
)
async def list_scopable_projects(context: ContextDep, claims: ClaimsDep) -> JSONResponse:
    """The projects that the caller may ask a token for."""
    async with context.database.read() as session:
        found = await identities.projects_of_user(session, claims.user_id)
    return _projects(context, found, "/v3/auth/projects")


@router.get(
    "/v3/projects",
    operation_id="ListProjects",
    responses=identity_answers(ListProjectsResponse, 401),
)
async def list_projects(
    context: ContextDep,
    claims: ClaimsDep,
    name: str | None = None,
    domain_id: str | None = None,
    enabled: bool | None = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=5000)] = 5000,
) -> JSONResponse:
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


@router.get(
    "/v3/projects/{project_id}",
    operation_id="ShowProject",
    responses=identity_answers(ProjectResponse, 401, 404),
)
async def show_project(project_id: str, context: ContextDep, claims: ClaimsDep) -> JSONResponse:
    """One of the caller's projects, or of the domain they administer."""
    async with context.database.read() as session:
        found = await session.get(Project, project_id)
        if found is not None:
            allowed = await identities.roles_on(
                session, claims.user_id, scope_type="project", scope_id=found.id
            ) or await identities.administers(session, claims.user_id, found.domain_id)
            if allowed:
                shown = project_document(found, context.settings.gateway.public_address)
                return JSONResponse({"project": shown})
    raise NotFound("There is no such project.")


@router.get(
    "/v3/users/{user_id}/projects",
    operation_id="ListUserProjects",
    responses=identity_answers(ListProjectsResponse, 401, 403, 404),
)
async def list_user_projects(user_id: str, context: ContextDep, claims: ClaimsDep) -> JSONResponse:
    """The projects on which a user has a role: one's own, or anyone's for administrators."""
    async with context.database.read() as session:
        if user_id != claims.user_id:
            await require_user(session, claims, user_id)
        found = await identities.projects_of_user(session, user_id)
    return _projects(context, found, f"/v3/users/{user_id}/projects")


@router.post(
    "/v3/projects",
    status_code=201,
    operation_id="CreateProject",
    responses=identity_answers(ProjectResponse, 401, 403, 409, 413, status=201),
)
async def create_project(
    body: NewProjectRequest, context: ContextDep, claims: ClaimsDep
) -> JSONResponse:
    """Create an empty project; give users a role on it next."""
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
        await insert(session, project)
    shown = project_document(project, context.settings.gateway.public_address)
    return JSONResponse({"project": shown}, status_code=201)


def _projects(context: Context, projects: Sequence[Project], path: str) -> JSONResponse:
    address = context.settings.gateway.public_address
    return JSONResponse(
        {
            "projects": [project_document(project, address) for project in projects],
            "links": {"self": f"{address}{path}", "next": None, "previous": None},
        }
    )
