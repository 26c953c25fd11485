"""The API's service routes over the loop bench: no gateway, no processes, a token for each user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx

from loop_support import AUTHOR, Bench, changed, loop_bench
from modelyard.api.app import create_app
from modelyard.api.context import Context
from modelyard.api.routers import all_routers
from modelyard.control.preview.service_preview import Previews
from modelyard.domain.canary.request_counts import RequestRecord
from modelyard.errors import Unauthenticated
from modelyard.iam.claims import Claims
from modelyard.monitor.rate import CallRate
from modelyard.monitor.usage import UsageMeter

OTHER_USER = "o" * 32
OTHER_PROJECT = "q" * 32


class _Tokens:
    """A token is ``user@project``."""

    def verify(self, token: str) -> Claims:
        user, _, project = token.partition("@")
        if not project:
            raise Unauthenticated("no token")
        return Claims(
            user_id=user,
            user_name=user[:4],
            domain_id=AUTHOR.domain_id,
            domain_name="d",
            project_id=project,
            project_name="p",
            roles=("member",),
            issued_at=0,
            expires_at=0,
            token_id="t",
        )


@dataclass
class FakeRequests:
    """A request log in memory."""

    records: dict[str, RequestRecord] = field(default_factory=dict)

    async def find(self, request_id: str) -> RequestRecord | None:
        return self.records.get(request_id)


@dataclass
class Api:
    """The application and the bench below it."""

    bench: Bench
    http: httpx.AsyncClient
    requests: FakeRequests
    hinted: list[str]

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str = AUTHOR.user_id,
        project: str = AUTHOR.project_id,
        **headers: str,
    ) -> httpx.Response:
        """A call below ``/services``; header names are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(
            method,
            f"/v1/{project}/services{path}",
            json=body,
            headers={"X-Auth-Token": f"{user}@{project}", **sent},
        )


@asynccontextmanager
async def service_api(tmp_path: Path, **settings: Any) -> AsyncIterator[Api]:
    """Everything in one event loop, on a database of its own."""
    async with loop_bench(tmp_path) as bench:
        hinted: list[str] = []
        requests = FakeRequests()
        chosen = changed(bench.changes.settings, **settings)
        bench.changes = replace(
            bench.changes, settings=chosen, previewer=Previews(chosen, bench.clock)
        )
        parts = SimpleNamespace(
            settings=chosen,
            database=bench.database,
            clock=bench.clock,
            tokens=_Tokens(),
            changes=bench.changes,
            gateway=bench.gateway,
            usage=UsageMeter(),
            rate=CallRate(),
            requests=requests,
            hint=hinted.append,
        )
        app = create_app(cast("Context", parts), all_routers())
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            yield Api(bench, http, requests, hinted)
