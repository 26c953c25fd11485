"""Write and find domains, projects, users and their roles."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.roles import ADMIN
from modelyard.store.tables.iam import Domain, Project, RoleAssignment, User


async def find_domain(
    session: AsyncSession, *, id_: str | None = None, name: str | None = None
) -> Domain | None:
    """The domain of an id, or else of a name."""
    condition = Domain.id == id_ if id_ is not None else Domain.name == name
    return (await session.scalars(select(Domain).where(condition))).one_or_none()


async def find_user(
    session: AsyncSession,
    *,
    id_: str | None = None,
    name: str | None = None,
    domain_id: str | None = None,
) -> User | None:
    """The user of an id, or of a name inside a domain."""
    query = select(User).where(User.id == id_ if id_ is not None else User.name == name)
    if domain_id is not None:
        query = query.where(User.domain_id == domain_id)
    return (await session.scalars(query)).one_or_none()


async def users_of_domain(
    session: AsyncSession, domain_id: str, name: str | None = None
) -> Sequence[User]:
    query = select(User).where(User.domain_id == domain_id).order_by(User.name)
    if name is not None:
        query = query.where(User.name == name)
    return (await session.scalars(query)).all()


async def projects_of_domain(session: AsyncSession, domain_id: str) -> Sequence[Project]:
    query = select(Project).where(Project.domain_id == domain_id).order_by(Project.name)
    return (await session.scalars(query)).all()


async def projects_of_user(session: AsyncSession, user_id: str) -> Sequence[Project]:
    """The projects on which the user has a role, by name."""
    has_role = exists().where(
        RoleAssignment.user_id == user_id,
        RoleAssignment.scope_type == "project",
        RoleAssignment.scope_id == Project.id,
    )
    query = select(Project).where(has_role).order_by(Project.name, Project.id)
    return (await session.scalars(query)).all()


async def roles_on(
    session: AsyncSession, user_id: str, *, scope_type: str, scope_id: str
) -> tuple[str, ...]:
    """The names of the user's roles on a project or domain, sorted."""
    query = select(RoleAssignment.role).where(
        RoleAssignment.user_id == user_id,
        RoleAssignment.scope_type == scope_type,
        RoleAssignment.scope_id == scope_id,
    )
    return tuple(sorted((await session.scalars(query)).all()))


async def administers(session: AsyncSession, user_id: str, domain_id: str) -> bool:
    """Whether the user may make projects and users of the domain, as of now."""
    return ADMIN in await roles_on(session, user_id, scope_type="domain", scope_id=domain_id)


async def grant(
    session: AsyncSession, user_id: str, role: str, *, scope_type: str, scope_id: str
) -> None:
    """Give the role; harmless when it is there already."""
    key = (user_id, scope_type, scope_id, role)
    if await session.get(RoleAssignment, key) is None:
        session.add(
            RoleAssignment(user_id=user_id, scope_type=scope_type, scope_id=scope_id, role=role)
        )
        await session.flush()


async def revoke(
    session: AsyncSession, user_id: str, role: str, *, scope_type: str, scope_id: str
) -> bool:
    """Take the role away; False when the user did not have it."""
    found = await session.get(RoleAssignment, (user_id, scope_type, scope_id, role))
    if found is None:
        return False
    await session.delete(found)
    return True


async def name_taken(
    session: AsyncSession, table: type[Project | User], domain_id: str, name: str
) -> bool:
    """Whether a project or user of that name exists in the domain."""
    query = select(table.id).where(table.domain_id == domain_id, table.name == name)
    return (await session.scalars(query)).first() is not None
