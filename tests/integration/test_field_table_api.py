"""The table of all fields over HTTP: status, code, field, and nothing changed by a refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from services_api import ServicesApi, services_api
from sqlalchemy import delete, func, select, update

from field_kit import POOLS, TWIN, entry
from field_table import Case, cases
from modelyard.domain.admission.requests import Present
from modelyard.steps import Step
from modelyard.store.tables.service import Event, Revision, Service, UpdateLog

# No catalogue holds the twin; one level of the map more makes no difference to HTTP.
CASES = [case for case in cases() if TWIN not in repr(case.body) and "rolling" not in case.field]

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


async def _send(api: ServicesApi, case: Case, service_id: str, numbers: Iterator[int]) -> Any:
    if case.call == "PUT":
        return await api.call("PUT", f"/services/{service_id}", json=case.body)
    body = dict(case.body)
    if case.field != "service_name":
        body["service_name"] = f"svc-{next(numbers)}"
    return await api.call("POST", "/services", json=body)


async def test_every_case_over_http(tmp_path: Path) -> None:
    # Refusals first: what they leave alone needs no putting back.
    ordered = sorted(CASES, key=lambda case: (case.status == 200, repr(case.present)))
    async with services_api(tmp_path, pools=POOLS) as api:
        (api.settings.layout.checks_dir / "probe").write_text("#!/bin/sh\n")
        (api.settings.layout.checks_dir / "probe").chmod(0o700)
        service_id = await api.created("the-service", entry())
        numbers, set_to, state = count(), None, ""
        for case in ordered:
            if case.status == 200 or case.present != set_to:
                await _reset(api, service_id, case.present)
                set_to, state = case.present, await _state(api)
            answer = await _send(api, case, service_id, numbers)
            assert answer.status_code == case.status, f"{case.name}: {answer.text}"
            if case.status == 200:
                continue
            told = answer.json()
            assert told["error_code"] == f"ModelArts.{case.code}", f"{case.name}: {told}"
            assert told["error_msg"].startswith(case.problem), case.name
            assert told["problems"][0]["field"] == case.problem, case.name
            assert await _state(api) == state, f"{case.name} was refused, and yet changed something"
