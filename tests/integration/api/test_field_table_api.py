"""The table of all fields over HTTP: status, code, field, and nothing changed by a refusal."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from services_api import ServicesApi, services_api
from sqlalchemy import delete, func, select, update

from field_kit import POOLS, TWIN, entry
from field_table import Case, cases_by_row
from modelyard.domain.admission.requests import Present
from modelyard.steps import Step
from modelyard.store.tables.service import Event, Revision, Service, UpdateLog

# No catalogue holds the twin; one level of the map more makes no difference to HTTP.
CASES = {
    row: cases
    for row, whole in cases_by_row().items()
    if (cases := [c for c in whole if TWIN not in repr(c.body) and "rolling" not in c.field])
}

_ROWS = select(*Service.__table__.columns).order_by(Service.id)
_COUNTS = select(
    *(
        select(func.count()).select_from(table).scalar_subquery()
        for table in (Revision, UpdateLog, Event)
    )
)


async def _state(api: ServicesApi) -> str:
    """A digest of every service's row, and how much hangs on them."""
    async with api.database.engine.connect() as connection:
        rows = (await connection.execute(_ROWS)).all()
        counts = (await connection.execute(_COUNTS)).all()
    return hashlib.sha256(repr((rows, counts)).encode()).hexdigest()


async def _reset(api: ServicesApi, service_id: str, present: Present) -> None:
    values: dict[str, Any] = {
        "status": "running",
        "wanted": "running",
        "additional_properties": present.additional_properties,
    }
    async with api.database.write(Step.TEST) as session:
        await session.execute(delete(Service).where(Service.id != service_id))
        await session.execute(update(Service).where(Service.id == service_id).values(values))


async def _send(table: Table, case: Case) -> Any:
    if case.call == "PUT":
        return await table.api.call("PUT", f"/services/{table.service_id}", json=case.body)
    body = dict(case.body)
    if case.field != "service_name":
        body["service_name"] = f"svc-{next(table.numbers)}"
    return await table.api.call("POST", "/services", json=body)


@dataclass(frozen=True)
class Table:
    """What the rows share: the API, the service that is updated, numbers for new names."""

    api: ServicesApi
    service_id: str
    numbers: Iterator[int]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def table(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Table]:
    async with services_api(tmp_path_factory.mktemp("home"), pools=POOLS) as api:
        (api.settings.layout.checks_dir / "probe").write_text("#!/bin/sh\n")
        (api.settings.layout.checks_dir / "probe").chmod(0o700)
        yield Table(api, await api.created("the-service", entry()), count())


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", CASES)
async def test_every_value_of_a_row_over_http(table: Table, row: str) -> None:
    # Refusals first: what they leave alone needs no putting back.
    ordered = sorted(CASES[row], key=lambda case: (case.status == 200, repr(case.present)))
    set_to, state = None, ""
    for case in ordered:
        if case.status == 200 or case.present != set_to:
            await _reset(table.api, table.service_id, case.present)
            set_to, state = case.present, await _state(table.api)
        answer = await _send(table, case)
        assert answer.status_code == case.status, f"{case.name}: {answer.text}"
        if case.status == 200:
            continue
        body = answer.json()
        assert body["error_code"] == f"ModelArts.{case.code}", f"{case.name}: {body}"
        assert body["error_msg"].startswith(case.problem), case.name
        assert body["problems"][0]["field"] == case.problem, case.name
        assert await _state(table.api) == state, f"{case.name} was refused, and changed something"
