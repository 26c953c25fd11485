"""The API's identity and model parts over a real database and object folder, without a gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
from fastapi import FastAPI

from modelyard.api.app import create_app
from modelyard.api.context import Context
from modelyard.api.routes import discovery, iam, models
from modelyard.clock import SystemClock
from modelyard.iam.bootstrap import Credentials, ensure_admin
from modelyard.iam.keys import KeyRing
from modelyard.iam.tokens import Tokens
from modelyard.objects.store import Objects
from modelyard.objects.transfer import Limits
from modelyard.packages.environments.shared import Environments
from modelyard.packages.importing.importer import ModelImporter
from modelyard.settings import Settings
from modelyard.store.database import Database
from modelyard.store.tables import Table

CONFIG: dict[str, Any] = {
    "model_type": "PyTorch",
    "model_algorithm": "image_classification",
    "apis": [
        {
            "procotol": "http",
            "url": "/",
            "method": "post",
            "request": {
                "Content-type": "multipart/form-data",
                "data": {"type": "object", "properties": {"photo": {"type": "file"}}},
            },
            "response": {
                "Content-type": "application/json",
                "data": {"type": "object", "properties": {"label": {"type": "string"}}},
            },
        }
    ],
    "metrics": {"f1": 0.9, "accuracy": "0.8"},
}


@dataclass
class Caller:
    """One user with a token for one project."""

    http: httpx.AsyncClient
    project_id: str
    token: str
    user_id: str = ""

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"X-Auth-Token": self.token}
        return await self.http.request(method, path, headers=headers, **more)

    def url(self, tail: str = "") -> str:
        return f"/v1/{self.project_id}/models{tail}"

    async def import_model(self, **body: object) -> str:
        response = await self.call("POST", self.url(), json=body)
        assert response.status_code == 200, response.text
        return cast("str", response.json()["model_id"])

    async def settled(self, model_id: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """The model once its import is over."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = (await self.call("GET", self.url(f"/{model_id}"))).json()
                if found["model_status"] not in ("publishing", "building"):
                    return cast("dict[str, Any]", found)
                await asyncio.sleep(0.01)


@dataclass
class Catalogue:
    """A running set of parts."""

    settings: Settings
    database: Database
    tokens: Tokens
    importer: ModelImporter
    environments: Environments
    credentials: Credentials
    app: FastAPI
    http: httpx.AsyncClient

    async def log_in(
        self, user: str, password: str, scope: Mapping[str, object] | None = None
    ) -> httpx.Response:
        domain = {"name": self.credentials.domain_name}
        who = {"name": user, "password": password, "domain": domain}
        auth: dict[str, object] = {"identity": {"methods": ["password"], "password": {"user": who}}}
        if scope is not None:
            auth["scope"] = scope
        return await self.http.post("/v3/auth/tokens", json={"auth": auth})

    async def admin(self) -> Caller:
        name = self.credentials.project_name
        return await self._caller(
            self.credentials.user_name, self.credentials.password, {"project": {"name": name}}
        )

    async def newcomer(self, name: str) -> Caller:
        """A new user who is a member of a new project of their own."""
        admin = await self.admin()
        project = await admin.call("POST", "/v3/projects", json={"project": {"name": f"p-{name}"}})
        user = await admin.call(
            "POST", "/v3/users", json={"user": {"name": name, "password": "long enough"}}
        )
        project_id, user_id = project.json()["project"]["id"], user.json()["user"]["id"]
        granted = await admin.call("PUT", f"/v3/projects/{project_id}/users/{user_id}/roles/member")
        assert granted.status_code == 204, granted.text
        return await self._caller(name, "long enough", {"project": {"id": project_id}})

    async def _caller(self, user: str, password: str, scope: Mapping[str, object]) -> Caller:
        response = await self.log_in(user, password, scope)
        assert response.status_code == 201, response.text
        token = response.json()["token"]
        subject = response.headers["X-Subject-Token"]
        return Caller(self.http, token["project"]["id"], subject, token["user"]["id"])

    def write(self, path: str, content: bytes | str | Mapping[str, object]) -> Path:
        """Put one file into the object folder; a mapping becomes JSON."""
        target = Path(self.settings.objects) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.write_text(content if isinstance(content, str) else json.dumps(content))
        return target

    def package(self, where: str, **config: object) -> str:
        """A good package at ``bucket/folder``; returns its source location."""
        self.write(f"{where}/model/config.json", CONFIG | config)
        self.write(f"{where}/model/customize_service.py", "raise SystemExit('never run me')\n")
        self.write(f"{where}/model/weights.pth", b"w" * 1000)
        return f"obs://{where}/"


@asynccontextmanager
async def catalogue(
    home: Path, *, port: int = 8700, limits: Limits | None = None, **more: Any
) -> AsyncIterator[Catalogue]:
    """Everything started; all of it stopped at the end. Distributions come from ``home``/index,
    so that no test asks a network for them; ``more`` are settings.
    """
    index = home / "index"
    index.mkdir(parents=True, exist_ok=True)
    settings = Settings(home=home, port=port, **{"package_index": str(index), **more})
    settings.layout.prepare_home()
    clock = SystemClock()
    database = Database(settings.database)
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(Table.metadata.create_all)
        credentials = await ensure_admin(
            database,
            settings.iam,
            settings.gateway.address,
            settings.layout.credentials_file,
            clock,
        )
        tokens = Tokens(
            KeyRing(settings.layout.keys_dir, clock, settings.iam.token_lifetime),
            clock,
            settings.iam.token_lifetime,
        )
        objects = Objects(settings.objects)
        environments = Environments(settings.packages, settings.layout, clock, database)
        importer = ModelImporter(
            settings.layout.packages_dir, database, clock, objects, environments, limits
        )
        await importer.start()
        parts = SimpleNamespace(
            settings=settings, database=database, clock=clock, tokens=tokens, importer=importer
        )
        routers = [discovery.router, *iam.ROUTERS, *models.ROUTERS]
        app = create_app(cast("Context", parts), routers)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url=settings.gateway.address
        ) as http:
            yield Catalogue(
                settings, database, tokens, importer, environments, credentials, app, http
            )
        await importer.stop()
    finally:
        await database.close()
        settings.layout.forget_sockets()
