"""The service calls of the real API over a real database; nothing runs, nobody logs in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx

from field_kit import MODELS, TWIN
from migrated import bring_up_to_date
from modelyard.api.app import create_app
from modelyard.api.context import Context
from modelyard.api.routes import resources
from modelyard.api.routes.services import ROUTERS
from modelyard.control.changes.service_changes import ServiceChanges
from modelyard.iam.claims import Claims
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.tables.model import Model
from modelyard.testing.clock import FakeClock

PROJECT = "p" * 32
CLAIMS = Claims(
    user_id="u" * 32,
    user_name="user",
    domain_id="d" * 32,
    domain_name="domain",
    project_id=PROJECT,
    project_name="project",
    roles=(),
    issued_at=0,
    expires_at=2**40,
    token_id="t",
)


@dataclass
class ServicesApi:
    """A caller of one project; ``database`` is what the calls write to."""

    http: httpx.AsyncClient
    database: Database
    settings: Settings

    async def call(self, method: str, tail: str = "", **more: Any) -> httpx.Response:
        """``tail`` follows the project in the path."""
        return await self.http.request(method, f"/v1/{PROJECT}{tail}", **more)

    async def create(self, name: str, *config: dict[str, Any], **more: Any) -> httpx.Response:
        body = {"service_name": name, "infer_type": "real-time", "config": [*config]} | more
        return await self.call("POST", "/services", json=body)

    async def created(self, name: str, *config: dict[str, Any], **more: Any) -> str:
        answer = await self.create(name, *config, **more)
        assert answer.status_code == 200, answer.text
        return cast("str", answer.json()["service_id"])

    async def update(self, service_id: str, **body: Any) -> httpx.Response:
        return await self.call("PUT", f"/services/{service_id}", json=body)


@asynccontextmanager
async def services_api(home: Path, **settings: Any) -> AsyncIterator[ServicesApi]:
    """The models of ``field_table`` are in the catalogue, but for the twin that none can hold."""
    chosen = Settings(home=home, **settings)
    chosen.layout.prepare_home()
    database = Database(chosen.database)
    try:
        await bring_up_to_date(database)
        async with database.write(Step.TEST) as session:
            for order in range(len(MODELS)):
                await session.merge(_model(order))
        clock = FakeClock()
        parts = SimpleNamespace(
            settings=chosen,
            database=database,
            clock=clock,
            tokens=SimpleNamespace(verify=lambda _token: CLAIMS),
            changes=ServiceChanges(chosen, database, clock),
            hint=lambda _service_id: None,
        )
        routers = [resources.router, *ROUTERS]
        transport = httpx.ASGITransport(app=create_app(cast("Context", parts), routers))
        headers = {"X-Auth-Token": "t"}
        base = chosen.gateway.address
        async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers) as http:
            yield ServicesApi(http, database, chosen)
    finally:
        await database.close()


def _model(order: int) -> Model:
    facts = MODELS[order]
    twin = facts.model_id == TWIN
    return Model(
        id=facts.model_id,
        project_id="another" if twin else PROJECT,
        name=facts.name,
        version=facts.version,
        version_order=order,
        model_type="Custom",
        status=facts.status,
        owner=CLAIMS.user_id,
        tenant=CLAIMS.domain_id,
        source_location="/b/k/",
        requested={},
        install_type=list(facts.install_type),
        package_dir="",
        created_at=1,
    )
