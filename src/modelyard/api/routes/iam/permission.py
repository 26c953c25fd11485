"""Who may administer a domain, and what its calls share (iam.md §4)."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.api.context import Context
from modelyard.api.views.iam import Document
from modelyard.errors import Conflict, Forbidden, NotFound
from modelyard.iam.claims import Claims
from modelyard.store import identities
from modelyard.store.tables.iam import Project, User


async def require_admin(session: AsyncSession, claims: Claims, domain_id: str | None) -> str:
    """The domain to act on: the caller's own, which they must administer.

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


async def insert(session: AsyncSession, row: Project | User) -> None:
    """Add a row of a new name. Raises ``Conflict`` when the name is taken."""
    session.add(row)
    try:
        await session.flush()
    except IntegrityError:
        # On PostgreSQL another writer may have taken the name since we looked.
        raise Conflict(f"name: {row.name!r} exists.") from None


def links(context: Context, kind: str) -> Document:
    """``links`` of a list of ``kind``."""
    return {
        "self": f"{context.settings.gateway.public_address}/v3/{kind}",
        "next": None,
        "previous": None,
    }
