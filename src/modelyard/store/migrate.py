"""Bring a database to the present schema. An applied migration is never edited."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from modelyard.errors import NewerDatabase
from modelyard.store.database import Database

LATEST = "head"


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


async def migrate(database: Database, revision: str = LATEST) -> None:
    """Apply the migrations up to ``revision`` that are missing; of several callers one does.

    Raises ``NewerDatabase`` when the database has a revision that this build does not know;
    nothing has changed then.
    """
    where = database.engine.url.render_as_string(hide_password=True)
    async with database.engine.begin() as connection:
        await connection.run_sync(_upgrade, where, revision)


def _upgrade(connection: Connection, where: str, revision: str) -> None:
    if connection.dialect.name == "postgresql":
        # Until the end of the transaction a second control plane waits here.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('modelyard.migrations'))"))
    config = alembic_config(connection)
    _refuse_newer(connection, ScriptDirectory.from_config(config), where)
    command.upgrade(config, revision)


def _refuse_newer(connection: Connection, scripts: ScriptDirectory, where: str) -> None:
    known = [script.revision for script in scripts.walk_revisions()]
    present = MigrationContext.configure(connection).get_current_heads()
    unknown = sorted(set(present) - set(known))
    if unknown:
        raise NewerDatabase(
            f"The database {where} has the schema revision {', '.join(unknown)}, which this build "
            f"of Modelyard does not know: it is older, and its newest revision is {known[0]}. "
            "Nothing was changed. Install the newer build again, or restore a backup that was made "
            "before the upgrade."
        )
