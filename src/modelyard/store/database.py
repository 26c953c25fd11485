"""The engine and its sessions: SQLite (WAL) by default, PostgreSQL by URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from modelyard.store import inline_sqlite


def _tune_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=15000",
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
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed at the end, or undone when an error gets out."""
        if not self.is_sqlite:
            async with self._sessions() as session, _committed(session):
                yield session
            return
        async with self._writer, self._sessions() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            async with _committed(session):
                yield session

    async def close(self) -> None:
        await self.engine.dispose()


@asynccontextmanager
async def _committed(session: AsyncSession) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await session.rollback()
        raise
    await session.commit()
