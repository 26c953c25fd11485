"""SQLite for an asyncio engine without a thread per connection.

``aiosqlite`` hands every step of every statement to a thread and back: five hand-overs a query,
which on a small machine cost thirty times what SQLite itself does. Our statements touch a few rows
of a local file in WAL mode without a sync to disk, so they run right here. What could make
SQLite *wait* inside the event loop is a second writer: ``Database.write`` lets only one in.

The two classes have the part of aiosqlite's shape that SQLAlchemy's dialect uses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any


class InlineCursor:
    """A cursor whose coroutines never wait."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    async def execute(self, statement: str, parameters: Any = ()) -> InlineCursor:
        self._cursor.execute(statement, parameters)
        return self

    async def executemany(self, statement: str, parameters: Sequence[Any]) -> InlineCursor:
        self._cursor.executemany(statement, parameters)
        return self

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()

    async def fetchmany(self, size: int = 1) -> list[Any]:
        return self._cursor.fetchmany(size)

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    async def close(self) -> None:
        self._cursor.close()


class InlineConnection:
    """A connection whose coroutines never wait; to be used by one event loop's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._conn = connection

    @property
    def isolation_level(self) -> str | None:
        return self._conn.isolation_level

    async def cursor(self) -> InlineCursor:
        return InlineCursor(self._conn.cursor())

    async def execute(self, statement: str, parameters: Any = ()) -> InlineCursor:
        return await (await self.cursor()).execute(statement, parameters)

    async def create_function(
        self, name: str, arguments: int, function: Callable[..., Any], **options: Any
    ) -> None:
        self._conn.create_function(name, arguments, function, **options)

    async def commit(self) -> None:
        self._conn.commit()

    async def rollback(self) -> None:
        self._conn.rollback()

    async def close(self) -> None:
        self._conn.close()

    def stop(self) -> None:
        """End it at once; what SQLAlchemy calls when there is no loop left to await in."""
        self._conn.close()


async def connect(path: str) -> InlineConnection:
    """Open the database file at ``path``. Raises ``sqlite3.Error``."""
    return InlineConnection(sqlite3.connect(path))
