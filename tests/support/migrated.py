"""Databases with the newest schema: migrated once in a process, and copied from then on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from modelyard.store.database import Database
from modelyard.store.migrate import migrate

_copies: list[bytes] = []


async def bring_up_to_date(database: Database) -> None:
    """Give a database the newest schema; each migration compiles and runs a dozen scripts."""
    url = database.engine.url
    path = Path(url.database or "")
    if url.get_backend_name() != "sqlite" or path.exists():
        await migrate(database)
    elif not _copies:
        await migrate(database)
        with closing(sqlite3.connect(path)) as connection:
            _copies.append(connection.serialize())
    else:
        path.write_bytes(_copies[0])
