"""Leases: only the holder of a service's lease acts on it (design: "who may act")."""

from __future__ import annotations

from sqlalchemy import CursorResult, bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.store.tables.service import Service

LEASE_MS = 30_000


# Made once: SQLAlchemy takes longer to put a statement together than SQLite to carry it out.
_TAKE = (
    update(Service)
    .where(
        Service.id == bindparam("service"),
        or_(Service.lock_token.is_(None), Service.lock_expires_at < bindparam("now")),
    )
    .values(lock_token=bindparam("token"), lock_expires_at=bindparam("until"))
    .returning(Service)
    .execution_options(synchronize_session=False, populate_existing=True)
)
_HELD = (
    select(Service)
    .where(Service.id == bindparam("service"), Service.lock_token == bindparam("token"))
    .with_for_update()
    .execution_options(populate_existing=True)
)


class LeaseLostError(Exception):
    """Another control plane holds the lease now; what we were about to write is void."""


async def take(session: AsyncSession, service_id: str, token: str, now: int) -> Service | None:
    """Take the lease of a service if it is free or has expired; returns its row, or None."""
    values = {"service": service_id, "now": now, "token": token, "until": now + LEASE_MS}
    return (await session.scalars(_TAKE, values)).one_or_none()


async def hold(session: AsyncSession, service_id: str, token: str, now: int) -> None:
    """Write a later expiry, and verify that the lease is still ours.

    Raises ``LeaseLostError``. The row stays locked until the transaction ends.
    """
    statement = (
        update(Service)
        .where(Service.id == service_id, Service.lock_token == token)
        .values(lock_expires_at=now + LEASE_MS)
    )
    if await _changed(session, statement) != 1:
        raise LeaseLostError(service_id)


async def held(session: AsyncSession, service_id: str, token: str) -> Service:
    """Return the service's row as it is now, locked until the transaction ends.

    Raises ``LeaseLostError``.
    """
    values = {"service": service_id, "token": token}
    service = (await session.scalars(_HELD, values)).one_or_none()
    if service is None:
        raise LeaseLostError(service_id)
    return service


async def release(session: AsyncSession, service_id: str, token: str) -> None:
    """Write that the lease is free; does nothing when it is no longer ours."""
    await session.execute(
        update(Service)
        .where(Service.id == service_id, Service.lock_token == token)
        .values(lock_token=None, lock_expires_at=None)
    )


def end(service: Service) -> None:
    """Free the lease of ``service``, a row of this session that ``held`` returned."""
    service.lock_token = service.lock_expires_at = None


def new_token(node: str, unique: str) -> str:
    """Return a token for one reconcile: the control plane's ``node`` (8 digits), ``unique``."""
    return f"{node}-{unique[:27]}"


async def release_all_of(session: AsyncSession, node: str) -> None:
    """Write that the leases of an earlier process of this control plane, which died, are free."""
    await session.execute(
        update(Service)
        .where(Service.lock_token.startswith(f"{node}-", autoescape=True))
        .values(lock_token=None, lock_expires_at=None)
    )


async def _changed(session: AsyncSession, statement: object) -> int:
    result = await session.execute(statement)  # type: ignore[call-overload]
    assert isinstance(result, CursorResult)
    return result.rowcount
