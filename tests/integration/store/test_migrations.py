"""A database of an earlier build keeps its rows; one of a newer build is refused in words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, insert, select, text

from modelyard.domain.rollout.state import DesiredStatus
from modelyard.errors import NewerDatabase
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.migrate import migrate
from modelyard.store.service.services import addressed_services
from modelyard.store.service.state import load_state
from modelyard.store.tables import Table
from modelyard.store.tables.service import Service

Rows = dict[str, list[dict[str, Any]]]

FORMER = "0004"
ROWS = Path(__file__).parent / "data" / "rows_of_0004.json"
"""What the build of that revision had written of seven services: kept, failed, stopped, batch…"""
RENAMED = {"service": {"wanted": "desired_status", "wished_at": "desired_since"}}
AT = 1_800_000_001_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    settings = Settings(home=tmp_path)
    settings.layout.prepare_home()
    database = Database(settings.database)
    yield database
    await database.close()


def put_rows(connection: Connection, rows: Rows) -> None:
    """Insert rows as the schema of the moment has them."""
    tables = MetaData()
    tables.reflect(connection)
    for name, values in rows.items():
        connection.execute(insert(tables.tables[name]), values)


async def former(database: Database) -> Rows:
    """A database of the former build; gives its rows."""
    await migrate(database, FORMER)
    rows: Rows = json.loads(ROWS.read_text())
    async with database.engine.begin() as connection:
        await connection.run_sync(put_rows, rows)
    return rows


def renamed(table: str, row: dict[str, Any]) -> dict[str, Any]:
    names = RENAMED.get(table, {})
    return {names.get(name, name): value for name, value in row.items()}


async def test_every_row_of_the_former_build_is_kept(database: Database) -> None:
    rows = await former(database)
    await migrate(database)
    found: Rows = {}
    async with database.read() as session:
        for table in Table.metadata.sorted_tables:
            if values := [dict(row._mapping) for row in await session.execute(select(table))]:
                found[table.name] = values
    assert found.keys() == rows.keys()
    for table, values in rows.items():
        expected = [renamed(table, row) for row in values]
        assert sorted(map(repr, map(sorted_items, found[table]))) == sorted(
            map(repr, map(sorted_items, expected))
        ), table


def sorted_items(row: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted((name, json.dumps(value, sort_keys=True)) for name, value in row.items())


async def test_the_desired_state_of_the_former_build_is_read(database: Database) -> None:
    rows = await former(database)
    await migrate(database)
    for row in rows["service"]:
        async with database.read() as session:
            service = await session.get_one(Service, row["id"])
            desired = (await load_state(session, service, AT)).desired
        assert desired.wanted is DesiredStatus(row["wanted"])
        assert desired.since == row["wished_at"]
        assert desired.target.number == row["desired_revision"]
        assert (desired.kept.until if desired.kept else None) == row["kept_until"]


async def test_what_the_former_build_wrote_can_be_changed(database: Database) -> None:
    await former(database)
    await migrate(database)
    async with database.write(Step.TEST) as session:
        found = await addressed_services(session)
        assert {service.name for service in found} == {"svc", "two", "three", "four", "five"}
        found[0].desired_status = DesiredStatus.DELETED.value
    async with database.read() as session:
        assert len(await addressed_services(session)) == 4


async def test_the_migrations_end_in_the_tables_of_the_code(database: Database) -> None:
    await migrate(database)
    async with database.engine.begin() as connection:
        different = await connection.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c), Table.metadata)
        )
    assert different == []


async def test_migrations_are_applied_once(database: Database) -> None:
    await migrate(database)
    await migrate(database)


async def test_a_database_of_a_newer_build_is_refused_and_left_alone(database: Database) -> None:
    await migrate(database)
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(NewerDatabase, match=r"revision 0999.*older.*restore a backup") as refused:
        await migrate(database)
    assert ":***@" in refused.value.message or "sqlite" in refused.value.message
    async with database.read() as session:
        assert await session.scalar(text("SELECT version_num FROM alembic_version")) == "0999"
