"""Several variants of one model, shadows, and two revisions that answer at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_support import Upstream, eventually, service, upstreams, version, world

from modelyard.domain.service.traffic import Endpoint, VersionTraffic

S = "11111111-0000-4000-8000-000000000001"


def shadow(model_id: str, percent: int, *endpoints: Endpoint) -> VersionTraffic:
    return VersionTraffic(model_id, model_id, "1", 0, endpoints, shadow=percent)


@asynccontextmanager
async def deaf() -> AsyncIterator[Endpoint]:
    """An instance that takes connections and reads nothing."""
    writers = []

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writers.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield Endpoint("deaf", "127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def test_variants_of_a_model_come_and_go_without_a_loss(tmp_path: Path) -> None:
    async with upstreams("old", "new", delay_s=0.002) as (old, new):
        plain = version("m", 100, old)
        async with world(tmp_path, [service(S, plain, timeout_s=1.0)]) as here:
            async with here.load(S) as load:
                for revision in range(2, 12, 2):
                    fresh = replace(version("m", 50, new), variant="next", revision=revision + 1)
                    both = (replace(plain, weight=50), fresh)
                    await here.gateway.publish(service(S, *both, revision=revision, timeout_s=1.0))
                    before = new.count
                    await load.more(40)
                    assert new.count > before
                    # It becomes the plain version, and the former one leaves.
                    await here.gateway.publish(
                        service(S, version("m", 100, new), revision=revision + 1, timeout_s=1.0)
                    )
                    await load.more(20)
                    old, new = new, old
                    plain = version("m", 100, old)
            assert load.failures == []


async def test_a_guarded_rollout_answers_with_two_revisions(tmp_path: Path) -> None:
    async with upstreams("old", "new") as (old, new):
        stable = version("m", 75, old)
        fresh = replace(version("m", 25, new), variant="next", revision=6)
        async with world(tmp_path, [service(S, stable, fresh, revision=5)]) as here:
            seen = set()
            for _ in range(8):
                answer = await here.predict(S)
                seen.add((answer.headers["x-upstream"], answer.headers["x-modelyard-revision"]))
            assert seen == {("old", "5"), ("new", "6")}
            sent = here.gateway.sent.resources
            moved = (replace(stable, weight=50), replace(fresh, weight=50))
            first = await here.gateway.publish(service(S, *moved, revision=5))
            assert here.gateway.sent.resources == sent + 1  # the routes alone
            assert await here.gateway.publish(service(S, *moved, revision=5)) == first
            assert await here.gateway.publish(service(S, stable, fresh, revision=5)) != first


async def test_a_shadow_gets_its_share_and_no_secret(tmp_path: Path) -> None:
    async with upstreams("a", "b") as (a, b), upstreams("s", status=500) as (s,):
        traffic = service(
            S, version("m1", 50, a), version("m2", 50, b), shadow("m3", 40, s.endpoint)
        )
        async with world(tmp_path, [traffic]) as here:
            body = b"x" * 200_000
            for _ in range(300):
                answer = await here.predict(S, headers=[("x-subject-token", "secret")])
                assert answer.status == 200
            assert (await here.predict(S, body=body, chunked=True)).status == 200
            assert (a.count + b.count) == 301
            assert abs(a.count - b.count) <= 1
            assert 60 < s.count < 180
            headers = s.seen[0].headers
            assert "x-auth-token" not in headers
            assert "x-subject-token" not in headers
            assert "x-modelyard-scope" not in headers
            assert headers["x-modelyard-shadow"] == "1"
            assert "x-modelyard-shadow" not in a.seen[0].headers
            stats = await here.gateway.stats.clusters(S)
            assert stats[f"{S}/m3@shadow"].total == s.count
            assert stats[f"{S}/m3@shadow"].server_errors == s.count
            assert f"{S}/m3" not in stats
            lines = await asyncio.to_thread(here.settings.layout.request_log.read_text)
            assert "m3" not in lines
            await here.gateway.publish(replace(traffic, versions=traffic.versions[:2]))
            before = s.count
            for _ in range(30):
                await here.predict(S)
            assert s.count == before


@pytest.mark.parametrize("size", [2, 3_000_000])
async def test_a_shadow_that_hangs_delays_nobody(tmp_path: Path, size: int) -> None:
    async with upstreams("a") as (a,), deaf() as nobody:
        traffic = service(S, version("m1", 100, a), shadow("m2", 100, nobody))
        async with world(tmp_path, [traffic]) as here:
            body = b"x" * size
            slowest = 0.0
            for _ in range(100 if size < 1000 else 12):
                begun = time.monotonic()
                assert (await here.predict(S, body=body)).status == 200
                slowest = max(slowest, time.monotonic() - begun)
            assert slowest < 2.0  # the shadow's own answer would never come
            stats = await here.gateway.stats.clusters(S)
            assert 0 < stats[f"{S}/m2@shadow"].active <= 64


async def test_a_shadow_becomes_a_version_under_load(tmp_path: Path) -> None:
    async with upstreams("a", "s", delay_s=0.002) as (a, s):
        both = (version("m1", 100, a), shadow("m2", 100, s.endpoint))
        async with world(tmp_path, [service(S, *both)]) as here:
            async with here.load(S) as load:
                await eventually(lambda: s.count > 20)
                await here.gateway.publish(
                    service(S, version("m1", 50, a), version("m2", 50, s), revision=2)
                )
                await load.more(50)
                await here.gateway.publish(service(S, *both, revision=3))
                await load.more(50)
            assert load.failures == []
            assert load.by_upstream["s"] > 10


async def test_a_dead_shadow_breaks_nothing(tmp_path: Path) -> None:
    async with upstreams("a") as (a,):
        gone = await Upstream("gone").start()
        traffic = service(S, version("m1", 100, a), shadow("m2", 100, gone.endpoint))
        async with world(tmp_path, [traffic]) as here:
            async with here.load(S) as load:
                await load.more(20)
                await gone.stop()
                await load.more(100)
            assert load.failures == []
