"""WebSockets through a real Envoy, to stand-ins for instances that echo them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateway_support import (
    World,
    eventually,
    free_port,
    service,
    upstreams,
    version,
    world,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from modelyard.domain.canary.request_counts import VersionKey
from modelyard.domain.service.traffic import Endpoint, ServiceTraffic, VersionTraffic

S = "55555555-0000-4000-8000-000000000001"
T = "55555555-0000-4000-8000-000000000002"
IDLE_S = 30.0


class Echo:
    """An instance that answers each message with its own name and the message."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.opened: list[ServerConnection] = []
        self.server: Server

    async def _talk(self, caller: ServerConnection) -> None:
        self.opened.append(caller)
        async for message in caller:
            told = message if isinstance(message, bytes) else f"{self.name} {message}"
            await caller.send(told)

    async def start(self) -> None:
        self.server = await serve(self._talk, "127.0.0.1", 0, max_size=None, ping_interval=None)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.name, "127.0.0.1", self.server.sockets[0].getsockname()[1])

    def version(self, model_id: str, weight: int) -> VersionTraffic:
        return VersionTraffic(model_id, f"model-{model_id}", "1.0.0", weight, (self.endpoint,))


@asynccontextmanager
async def echoes(*names: str) -> AsyncIterator[list[Echo]]:
    found = [Echo(name) for name in names]
    for one in found:
        await one.start()
    try:
        yield found
    finally:
        for one in found:
            one.server.close()
            await one.server.wait_closed()


def talking(service_id: str, *versions: VersionTraffic, **more: object) -> ServiceTraffic:
    return service(service_id, *versions, **{"websocket_idle_s": IDLE_S, **more})


def client(here: World, path: str = "", *, token: str | None = "") -> connect:
    """A WebSocket to the service; with a good token unless told otherwise."""
    token = here.tokens.token() if token == "" else token
    url = f"ws://127.0.0.1:{here.settings.gateway.port}/v1/infers/{S}{path}"
    headers = {} if token is None else {"X-Auth-Token": token}
    return connect(url, additional_headers=headers, ping_interval=None, proxy=None, max_size=None)


async def ask(caller: ClientConnection, message: str | bytes) -> str | bytes:
    await caller.send(message)
    return await asyncio.wait_for(caller.recv(), 20)


async def refused(opening: connect) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as found:
        await opening
    response = found.value.response
    return response.status_code, json.loads(response.body or b"{}").get("error_code", "")


async def test_messages_of_any_size_go_both_ways(tmp_path: Path) -> None:
    async with echoes("a") as (a,), world(tmp_path, [talking(S, a.version("m", 100))]) as here:
        async with client(here, "/deep?q=1") as caller:
            assert await ask(caller, "one") == "a one"
            assert await ask(caller, "two") == "a two"
            # The limit of a message is the instance's business; a connection has none.
            large = bytes(13 * 1024 * 1024)
            assert await ask(caller, large) == large
            head = caller.response
            assert head is not None
            assert head.headers["x-modelyard-revision"] == "1"
        [seen] = a.opened
        assert seen.request is not None
        assert seen.request.path == "/deep?q=1"
        assert "x-auth-token" not in seen.request.headers


async def test_who_may_open_one(tmp_path: Path) -> None:
    async with echoes("a") as (a,), upstreams("b") as (b,):
        plain = service(S, version("m", 100, b))
        async with world(tmp_path, [plain]) as here:
            assert await refused(client(here)) == (403, "ModelArts.0101")
            assert (await here.predict(S)).status == 200
            await here.gateway.publish(talking(S, a.version("m", 100), revision=2))
            assert await refused(client(here, token=None)) == (401, "ModelArts.0201")
            assert await refused(client(here, token="x.y.z")) == (401, "ModelArts.0203")
            foreign = here.tokens.token("f" * 32)
            assert await refused(client(here, token=foreign)) == (403, "ModelArts.0210")
            async with client(here) as caller:
                assert await ask(caller, "hello") == "a hello"
            await here.gateway.publish(service(S, serving=False, revision=3))
            assert await refused(client(here)) == (400, "ModelArts.4203")
            await here.gateway.withdraw(S)
            assert await refused(client(here)) == (404, "ModelArts.4204")


async def test_nothing_else_is_upgraded(tmp_path: Path) -> None:
    upgrade = [("connection", "upgrade"), ("upgrade", "websocket")]
    other = [("connection", "upgrade"), ("upgrade", "chat")]
    async with upstreams("b") as (b,), world(tmp_path) as here:
        await here.gateway.publish(talking(S, version("m", 100, b)))
        posted = await here.predict(S, headers=upgrade)
        assert (posted.status, posted.code) == (405, "ModelArts.0101")
        chat = await here.predict(S, headers=other)
        assert (chat.status, chat.code) == (403, "APIG.0201")
        control = await here.call("/v1/x/services", method="GET", headers=upgrade, body=b"")
        assert (control.status, control.code) == (403, "APIG.0201")
        assert b.count == here.api.count == 0
        assert (await here.predict(S, headers=[("upgrade", "websocket")])).status == 200


async def test_connections_are_split_like_requests(tmp_path: Path) -> None:
    async with echoes("a", "b") as (a, b):
        traffic = talking(S, a.version("m", 70), b.version("n", 30))
        async with world(tmp_path, [traffic]) as here:
            callers = [await client(here) for _ in range(20)]
            counted = Counter([await ask(caller, "x") for caller in callers])
            await asyncio.gather(*(caller.close() for caller in callers))
            assert counted == {"a x": 14, "b x": 6}


async def test_the_limit_of_a_prediction_ends_no_websocket(tmp_path: Path) -> None:
    """Nor does a change that takes its instance out of traffic, long before it ends itself."""
    async with echoes("a", "b") as (a, b):
        old = talking(S, a.version("m", 100), timeout_s=0.3)
        changes = {"prediction_timeout": 0.3}
        async with world(tmp_path, [old], **changes) as here, client(here) as caller:
            assert await ask(caller, "one") == "a one"
            before = time.monotonic()
            await here.gateway.publish(talking(S, b.version("n", 100), timeout_s=0.3, revision=2))
            async with client(here) as other:
                assert await ask(other, "new") == "b new"
            key = f"{S}/m"

            async def forgotten() -> bool:
                return f"{key}::" not in await here.gateway.stats.get("/clusters")

            await eventually(forgotten)
            assert time.monotonic() - before > 2
            assert await ask(caller, "two") == "a two"
            assert await ask(caller, "three") == "a three"


async def test_a_silent_one_is_ended(tmp_path: Path) -> None:
    async with echoes("a") as (a,):
        traffic = talking(S, a.version("m", 100), websocket_idle_s=0.5)
        async with world(tmp_path, [traffic]) as here, client(here) as caller:
            for _ in range(3):
                assert await ask(caller, "x") == "a x"
            began = time.monotonic()
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(caller.recv(), 10)
            assert time.monotonic() - began > 0.3


async def test_a_close_reaches_the_client_and_counts_as_nothing(tmp_path: Path) -> None:
    async with echoes("a") as (a,), upstreams("b") as (b,):
        traffics = [talking(S, a.version("m", 100)), service(T, version("n", 100, b))]
        async with world(tmp_path, traffics) as here:
            async with client(here) as caller:
                assert await ask(caller, "x") == "a x"
                await a.opened[0].close(1001, "the end")
                with pytest.raises(ConnectionClosed):
                    await asyncio.wait_for(caller.recv(), 10)
                assert (caller.close_code, caller.close_reason) == (1001, "the end")
            async with client(here) as caller:
                assert await ask(caller, "x") == "a x"
                a.opened[1].transport.abort()
                with pytest.raises(ConnectionClosed):
                    await asyncio.wait_for(caller.recv(), 10)
                assert caller.close_code == 1006
            assert (await here.predict(T)).status == 200
            log = here.settings.layout.request_log
            await eventually(lambda: f"{T}/n" in log.read_text())
            assert log.read_text().count(f"{S}/m") >= 2
            requests = here.gateway.requests
            assert await requests.tallies(S, 0, 1 << 60) == {}
            assert (await requests.tallies(T, 0, 1 << 60))[VersionKey("n")].requests == 1


async def test_a_handshake_that_one_cannot_take_goes_to_another(tmp_path: Path) -> None:
    async with echoes("a") as (a,), upstreams("b", not_computed=True) as (b,):
        ends = (a.endpoint, b.endpoint, Endpoint("dead", "127.0.0.1", free_port()))
        one = VersionTraffic("m", "model-m", "1.0.0", 100, ends)
        async with world(tmp_path, [talking(S, one)]) as here:
            callers = [await client(here) for _ in range(12)]
            assert {await ask(caller, "x") for caller in callers} == {"a x"}
            assert b.count > 0
            await asyncio.gather(*(caller.close() for caller in callers))


async def test_an_instance_may_refuse_the_handshake(tmp_path: Path) -> None:
    async with upstreams("b", not_computed=True) as (b,), world(tmp_path) as here:
        await here.gateway.publish(talking(S, version("m", 100, b)))
        assert await refused(client(here)) == (503, "ModelArts.4302")
        assert b.count >= 1
