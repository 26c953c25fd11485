"""The engine and its sessions: SQLite (WAL) by default, PostgreSQL by URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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

_LONGEST_WAIT_S = 15.0
_RETRY_S = 0.02


def _tune_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        # Nobody waits inside SQLite: that would be the event loop. See ``_begin``.
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
    """Hands out sessions; one transaction each. ``url``: SQLAlchemy's, with an async driver."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.engine = _sqlite_engine(url) if self.is_sqlite else _server_engine(url)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        # One writer at a time: a second one would wait inside SQLite, and with it the event loop.
        self._writer = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for reading."""
        async with self._sessions() as session:
            yield session

    @asynccontextmanager
    async def write(self, step: Step) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed at the end, or undone when an error gets out.

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


async def _begin(session: AsyncSession) -> None:
    """Take SQLite's write lock, waiting for another process that has it (a backup, a shell).

    Raises ``OperationalError`` when it is not to be had for 15 seconds.
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
