"""The engine and its sessions: SQLite (WAL) by default, PostgreSQL by URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

from sqlalchemy import event, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from modelyard.steps import Step, reached
from modelyard.store import inline_sqlite

Session: TypeAlias = AsyncSession
"""One transaction. Whoever is not the store hands it on to the store's verbs and does nothing else
with it.
"""

_LONGEST_WAIT_S = 15.0
_RETRY_S = 0.02


def _tune_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        # Waiting inside SQLite would block the event loop. See ``_begin``.
        "busy_timeout=0",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_engine(url: str) -> AsyncEngine:
    path = make_url(url).database
    if not path:
        raise ValueError("MODELYARD_DATABASE_URL must name a file: sqlite+aiosqlite:////path/to.db")
    engine = create_async_engine(url, async_creator=lambda: inline_sqlite.connect(path))
    event.listen(engine.sync_engine, "connect", _tune_sqlite)
    return engine


def _server_engine(url: str) -> AsyncEngine:
    return create_async_engine(url, pool_pre_ping=True)


class Database:
    """Opens sessions, one transaction each. ``url``: SQLAlchemy's, with an async driver."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.engine = _sqlite_engine(url) if self.is_sqlite else _server_engine(url)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        # One writer at a time: a second one would wait inside SQLite, and with it the event loop.
        self._writer = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a session for reading."""
        async with self._sessions() as session:
            yield session

    @asynccontextmanager
    async def write(self, step: Step) -> AsyncIterator[AsyncSession]:
        """Open a session that is committed at the end, or rolled back when an error leaves it.

        ``step`` names what is persisted, for the crash tests (``steps.py``).
        """
        if not self.is_sqlite:
            async with self._sessions() as session, _committed(session):
                yield session
        else:
            async with self._writer, self._sessions() as session:
                await _begin(session)
                async with _committed(session):
                    yield session
        reached(step)

    async def close(self) -> None:
        await self.engine.dispose()


@contextmanager
def no_autoflush(session: Session) -> Iterator[None]:
    """Hold row changes back within the block: queries in it do not write them first."""
    with session.no_autoflush:
        yield


async def flush(session: Session) -> None:
    """Write the row changes so far, so that the queries that follow see them."""
    await session.flush()


async def _begin(session: AsyncSession) -> None:
    """Take SQLite's write lock; wait while another process holds it (a backup, a shell).

    Raises ``OperationalError`` after 15 seconds.
    """
    deadline = asyncio.get_running_loop().time() + _LONGEST_WAIT_S
    connection = await session.connection()
    while True:
        try:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(_RETRY_S)
        else:
            return


@asynccontextmanager
async def _committed(session: AsyncSession) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await session.rollback()
        raise
    await session.commit()
