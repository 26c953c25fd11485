"""Envoy and the control plane die and come back, each without the other noticing much."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from gateway_support import (
    TokenMaker,
    call,
    eventually,
    forget_sockets,
    gateway_settings,
    service,
    upstreams,
    version,
    world,
)

from modelyard import processes
from modelyard.errors import GatewayTimeout, InternalFailure, Unavailable
from modelyard.gateway import envoy, publisher
from modelyard.gateway.envoy import EnvoyProcess, record_path
from modelyard.gateway.publisher import EnvoyGateway

S = "55555555-0000-4000-8000-000000000001"


async def test_a_killed_envoy_is_back_with_the_same_configuration(tmp_path: Path) -> None:
    async with upstreams("a", "b") as (a, b):
        traffic = service(S, version("m1", 50, a), version("m2", 50, b))
        async with world(tmp_path, [traffic]) as here:
            first = here.gateway.pid
            assert first is not None
            async with here.load(S) as load:
                await load.more(20)
                killed = time.monotonic()
                os.kill(first, signal.SIGKILL)
                await eventually(lambda: here.gateway.pid not in (None, first))
                answered = load.by_upstream.total()
                await eventually(lambda: load.by_upstream.total() > answered + 20)
            back = max(at for at, _ in load.failures) - killed
            assert back < 2, f"the gateway was away for {back:.2f} s"
            assert here.gateway.restarts == 1
            await here.gateway.publish(service(S, version("m1", 100, a), revision=2))
            assert (await here.predict(S)).headers["x-modelyard-revision"] == "2"


async def test_a_publish_waits_for_an_envoy_that_is_being_restarted(tmp_path: Path) -> None:
    async with upstreams("a") as (a,), world(tmp_path) as here:
        first = here.gateway.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await here.gateway.publish(service(S, version("m1", 100, a)))
        await eventually(lambda: _serves(here.settings, here.tokens))
        assert here.gateway.pid != first


async def _serves(settings: object, tokens: TokenMaker) -> bool:
    try:
        return (await call(settings, f"/v1/infers/{S}", token=tokens.token())).status == 200  # type: ignore[arg-type]
    except OSError:
        return False


async def test_a_new_control_plane_adopts_envoy_and_sends_nothing(tmp_path: Path) -> None:
    async with upstreams("a", "b") as (a, b):
        traffic = service(S, version("m1", 50, a), version("m2", 50, b))
        async with world(tmp_path, [traffic]) as here:
            pid = here.gateway.pid
            async with here.load(S) as load:
                for _ in range(3):
                    await load.more(10)
                    await here.gateway.stop()
                    await load.more(10)
                    again = EnvoyGateway(
                        here.settings.gateway,
                        here.settings.predictions,
                        here.settings.layout,
                        here.tokens.jwks(),
                    )
                    again.load([traffic])
                    await again.start()
                    await eventually(lambda one=again: one.connected)
                    await again.publish(traffic)
                    assert (again.pid, again.sent.resources, again.sent.removals) == (pid, 0, 0)
                    await again.stop()
            assert load.failures == []


async def test_a_new_control_plane_with_another_plan_loses_nothing(tmp_path: Path) -> None:
    """Killed after the new revision was written, before Envoy heard of it."""
    async with upstreams("a", "b") as (a, b):
        plans = [
            service(S, version("m1", 50, a), version("m2", 50, b), revision=1, timeout_s=5),
            service(S, version("m3", 100, a), revision=2, timeout_s=5),
            service(S, version("m4", 50, b), version("m1", 50, a), revision=3, timeout_s=5),
        ]
        async with world(tmp_path, plans[:1]) as here:
            gateway = here.gateway
            async with here.load(S) as load:
                for turn in range(1, 10):
                    plan = plans[turn % 3]
                    await load.more(10)
                    await gateway.stop()
                    gateway = EnvoyGateway(
                        here.settings.gateway,
                        here.settings.predictions,
                        here.settings.layout,
                        here.tokens.jwks(),
                    )
                    gateway.load([plan])
                    await gateway.start()
                    await gateway.publish(plan)
                    answer = await here.predict(S)
                    assert answer.headers["x-modelyard-revision"] == str(plan.revision)
                await load.more(20)
            assert load.failures == []
            await gateway.stop()


async def test_a_service_gone_meanwhile_is_withdrawn(tmp_path: Path) -> None:
    async with upstreams("a") as (a,), world(tmp_path, [service(S, version("m", 100, a))]) as here:
        assert (await here.predict(S)).status == 200
        await here.gateway.stop()
        again = EnvoyGateway(
            here.settings.gateway,
            here.settings.predictions,
            here.settings.layout,
            here.tokens.jwks(),
        )
        await again.start()

        async def gone() -> bool:
            return (await here.predict(S)).status == 404

        await eventually(gone)
        await again.stop()


async def test_shutdown_leaves_nothing(tmp_path: Path) -> None:
    async with (
        upstreams("slow", delay_s=0.5) as (slow,),
        world(tmp_path, [service(S, version("m", 100, slow))]) as here,
    ):
        pid = here.gateway.pid
        assert pid is not None
        identity = processes.identify(pid)
        assert identity is not None and record_path(here.settings.layout).exists()
        under_way = asyncio.create_task(here.predict(S))
        await eventually(lambda: slow.active == 1)
        await here.gateway.shutdown()
        assert (await under_way).status == 200
        assert not processes.alive(identity)
        left = {path.name for path in here.settings.layout.sockets_dir.iterdir()}
        assert left <= {"api.sock"}
        assert not record_path(here.settings.layout).exists()
        with pytest.raises(OSError):
            await here.predict(S)
        await here.gateway.shutdown()  # harmless


async def test_another_process_ends_envoy_gently(tmp_path: Path) -> None:
    """As ``modelyard down`` does: with a client that never pauses on its connections."""
    async with (
        upstreams("slow", delay_s=0.3) as (slow,),
        upstreams("other", delay_s=0.17) as (other,),  # never all idle at the same time
        world(tmp_path, [service(S, version("m", 100, slow, other))]) as here,
    ):
        await here.gateway.stop()
        load = here.load(S, connections=8, pause_s=0)
        async with load:
            await load.more(40)
            under_way = asyncio.create_task(here.predict(S))
            await eventually(lambda: slow.active + other.active > 8)
            started = time.monotonic()
            await EnvoyProcess(here.settings.gateway, here.settings.layout).end(20)
            assert time.monotonic() - started < 5
            assert (await under_way).status == 200
        # No answer was cut off; new connections are refused, as they must be, or reset where the
        # kernel had queued them for a listener that closed.
        refused = "on a new connection: Connection"
        assert [text for _, text in load.failures if not text.startswith(refused)] == []


async def test_an_envoy_that_hangs_is_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy, "_TERM_S", 0.2)
    async with world(tmp_path) as here:
        pid = here.gateway.pid
        assert pid is not None
        identity = processes.identify(pid)
        assert identity is not None
        await here.gateway.stop()
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        await EnvoyProcess(here.settings.gateway, here.settings.layout).end(0.5)
        assert time.monotonic() - started < 3
        assert not processes.alive(identity)


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    settings = gateway_settings(tmp_path)
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", settings.gateway.port)
    try:
        with pytest.raises(Unavailable, match="MODELYARD_PORT"):
            await EnvoyGateway(
                settings.gateway, settings.predictions, settings.layout, TokenMaker().jwks()
            ).start()
        assert not record_path(settings.layout).exists()
        assert not settings.layout.xds_socket.exists()
    finally:
        server.close()
        forget_sockets(settings)


async def test_two_gateways_do_not_share_a_port(tmp_path: Path) -> None:
    async with world(tmp_path / "one") as here:
        other = gateway_settings(tmp_path / "two", port=here.settings.gateway.port)
        with pytest.raises(Unavailable, match="MODELYARD_PORT"):
            await EnvoyGateway(
                other.gateway, other.predictions, other.layout, here.tokens.jwks()
            ).start()
        forget_sockets(other)


async def test_what_envoy_refuses_is_reported_and_forgotten(tmp_path: Path) -> None:
    async with upstreams("a") as (a,), world(tmp_path, [service(S, version("m", 100, a))]) as here:
        # A host name where Envoy wants an address.
        broken = version("m", 100, a)
        bad_end = type(a.endpoint)("x", "not an address", 80)
        broken = type(broken)("m", "m", "1", 100, (bad_end,))
        with pytest.raises(InternalFailure, match="refused"):
            await here.gateway.publish(service(S, broken, revision=2))
        answer = await here.predict(S)
        assert (answer.status, answer.headers["x-modelyard-revision"]) == (200, "1")
        await here.gateway.publish(service(S, version("m", 100, a), revision=3))
        assert (await here.predict(S)).headers["x-modelyard-revision"] == "3"


async def test_a_stopped_envoy_times_out_and_catches_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_ACK_S", 0.5)
    async with upstreams("a") as (a,), world(tmp_path) as here:
        pid = here.gateway.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(GatewayTimeout):
                await here.gateway.publish(service(S, version("m", 100, a), revision=4))
        finally:
            os.kill(pid, signal.SIGCONT)

        async def caught_up() -> bool:
            return (await here.predict(S)).headers.get("x-modelyard-revision") == "4"

        await eventually(caught_up)
