"""A real HTTP server that answers like the platform, for tests of the command line alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

SERVICE_ID = "11111111-2222-4333-8444-555555555555"


@dataclass
class StandIn:
    """What it was asked, and what it shall answer."""

    address: str = ""
    tokens: int = 0
    expired: set[str] = field(default_factory=set)
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    statuses: list[str] = field(default_factory=lambda: ["deploying", "running"])
    models: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)
    plan_status: int = 200
    etag: str = '"7"'
    properties: dict[str, Any] | None = None


def _app(standin: StandIn) -> FastAPI:
    app = FastAPI()

    @app.post("/v3/auth/tokens")
    async def token(request: Request) -> Response:
        user = (await request.json())["auth"]["identity"]["password"]["user"]
        if user["password"] != "right":
            error = {"code": 401, "message": "The username or password is wrong.", "title": "x"}
            return JSONResponse({"error": error}, 401)
        standin.tokens += 1
        body = {"token": {"project": {"id": "p1"}}}
        return JSONResponse(body, 201, headers={"X-Subject-Token": f"token-{standin.tokens}"})

    @app.middleware("http")
    async def check(request: Request, call_next: Any) -> Response:
        if request.url.path != "/v3/auth/tokens":
            token = request.headers.get("x-auth-token", "")
            if not token.startswith("token-") or token in standin.expired:
                body = {"error_code": "ModelArts.0202", "error_msg": "The token is expired."}
                return JSONResponse(body, 401)
            body = await request.body()
            standin.seen.append((request.method, str(request.url.path), body))
        return await call_next(request)

    @app.get("/v1/p1/services")
    def services(offset: int = 0, limit: int = 2) -> dict[str, Any]:
        names = ["a", "b", "iris", "c", "d"][offset : offset + limit]
        items = [{"service_name": name, "service_id": SERVICE_ID} for name in names]
        return {"total_count": 5, "count": len(items), "services": items}

    @app.get("/v1/p1/services/{service_id}")
    def show(service_id: str) -> Response:
        if service_id != SERVICE_ID:
            body = {"error_code": "ModelArts.3502", "error_msg": f"{service_id} does not exist."}
            return JSONResponse(body, 404)
        status = standin.statuses.pop(0) if len(standin.statuses) > 1 else standin.statuses[0]
        return JSONResponse(
            {
                "service_name": "iris",
                "service_id": SERVICE_ID,
                "status": status,
                "access_address": f"{standin.address}/v1/infers/{SERVICE_ID}",
                "tags": [{"key": "env", "value": "prod"}],
                "config": [
                    {
                        "model_id": "m1",
                        "weight": 100,
                        "specification": "custom",
                        "custom_spec": {"cpu": 1, "memory": 512},
                        "instance_count": 2,
                        "envs": {"A": "1"},
                        "status": "ready",
                        **(
                            {"additional_properties": standin.properties}
                            if standin.properties
                            else {}
                        ),
                    }
                ],
            },
            headers={"ETag": standin.etag},
        )

    @app.get("/v1/p1/services/{service_id}/events")
    def events() -> dict[str, Any]:
        return {"total_count": 1, "count": 1, "events": [{"event_info": "starting model"}]}

    @app.get("/v1/p1/services/{service_id}/logs")
    def logs() -> dict[str, Any]:
        return {"logs": [{"update_time": 1, "result": "SUCCESS", "config": []}]}

    @app.get("/v1/p1/services/{service_id}/revisions")
    def revisions() -> dict[str, Any]:
        entry = {"model_name": "iris", "model_version": "0.0.1", "weight": 100, "instance_count": 2}
        newest = {"number": 3, "created_at": 1, "result": "SUCCESS", "origin": 1, "config": [entry]}
        oldest = {"number": 1, "created_at": 1, "config": [entry]}
        return {"total_count": 2, "revisions": [newest, oldest]}

    @app.get("/v1/p1/services/{service_id}/revisions/compare")
    def compare(request: Request) -> dict[str, Any]:
        standin.queries.append(dict(request.query_params))
        change = {"field": "config[0].weight", "before": 0, "after": 100, "effect": "no restart"}
        return {"changes": [change]}

    @app.get("/v1/p1/services/{service_id}/served")
    def served(request: Request) -> dict[str, Any]:
        standin.queries.append(dict(request.query_params))
        return {"revision": 3, "since": 1, "until": None, "config": []}

    @app.get("/v1/p1/services/{service_id}/requests/{request_id}")
    def request_of(request_id: str) -> Response:
        if request_id != "r-1":
            body = {
                "error_code": "ModelArts.3502",
                "error_msg": f"request_id: the service's log has no request {request_id!r}.",
            }
            return JSONResponse(body, 404)
        return JSONResponse(
            {
                **{"request_id": "r-1", "at": 1, "duration_ms": 12, "status": 200, "attempts": 2},
                **{"flags": ["UR"], "revision": 3, "model_name": "iris", "model_version": "0.0.2"},
                **{"variant": "", "instance_id": "instance-a"},
            }
        )

    def accepted(request: Request) -> Response:
        standin.queries.append(dict(request.query_params))
        wanted = request.headers.get("if-match", "*")
        if wanted not in ("*", standin.etag):
            told = f"If-Match: the service was changed meanwhile, its ETag is {standin.etag} now."
            return JSONResponse({"error_code": "ModelArts.3548", "error_msg": told}, 412)
        if request.query_params.get("dry_run") == "true":
            return JSONResponse(standin.plan, standin.plan_status)
        return JSONResponse({"update_time": "1", "resource_ids": []})

    @app.post("/v1/p1/services/{service_id}/revisions/{number}/rollback")
    def rollback(request: Request) -> Response:
        return accepted(request)

    @app.post("/v1/p1/services/{service_id}/tags/create", status_code=204)
    def create_tags() -> Response:
        return Response(status_code=204)

    @app.delete("/v1/p1/services/{service_id}/tags/delete", status_code=204)
    def delete_tags() -> Response:
        return Response(status_code=204)

    @app.patch("/v1/p1/services/{service_id}")
    @app.put("/v1/p1/services/{service_id}")
    def update(request: Request) -> Response:
        return accepted(request)

    @app.post("/v1/p1/services")
    def create() -> dict[str, Any]:
        return {"service_id": SERVICE_ID, "resource_ids": []}

    @app.get("/v1/p1/models")
    def models() -> dict[str, Any]:
        return {"total_count": len(standin.models), "models": standin.models}

    @app.post("/v1/infers/{service_id}")
    async def predict(request: Request) -> Response:
        kind = request.headers.get("content-type", "")
        headers = {"x-modelyard-model-version": "0.0.2"}
        return JSONResponse({"type": kind.split(";")[0]}, headers=headers)

    return app


@contextmanager
def running() -> Iterator[StandIn]:
    """The server on a free loopback port, ended with the block."""
    standin = StandIn()
    server = uvicorn.Server(
        uvicorn.Config(_app(standin), host="127.0.0.1", port=0, log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        standin.address = f"http://127.0.0.1:{port}"
        yield standin
    finally:
        server.should_exit = True
        thread.join(20)
