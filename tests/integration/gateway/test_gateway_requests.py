"""The request log of a real Envoy: what it says of each kind of prediction, and what not."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

from gateway_support import (
    World,
    eventually,
    free_port,
    request_bytes,
    service,
    upstreams,
    version,
    world,
)

from modelyard.clock import SystemClock
from modelyard.domain.canary.request_counts import RequestRecord, Tally, VersionKey
from modelyard.domain.service.traffic import Endpoint, VersionTraffic
from modelyard.gateway.request_log.reader import LAG_MS

S = "11111111-0000-4000-8000-000000000001"
T = "11111111-0000-4000-8000-000000000002"


async def record(here: World, request_id: str) -> RequestRecord:
    found = await here.gateway.requests.find(request_id)
    assert found is not None
    return found


async def tallies(here: World, since: int) -> dict[VersionKey, Tally]:
    """Of S from ``since`` until now, once they are final."""
    until = SystemClock().now_ms() + 1
    await eventually(lambda: SystemClock().now_ms() > until + LAG_MS)
    return dict(await here.gateway.requests.tallies(S, since, until))


async def test_a_request_id_leads_to_instance_and_revision(tmp_path: Path) -> None:
    async with upstreams("i-1", "i-2") as (a, b):
        fresh = replace(version("m2", 50, b), variant="next", revision=8)
        async with world(tmp_path, [service(S, version("m1", 50, a), fresh, revision=7)]) as here:
            answers = [await here.predict(S) for _ in range(2)]
            by_upstream = {answer.headers["x-upstream"]: answer for answer in answers}
            old = await record(here, by_upstream["i-1"].headers["x-request-id"])
            assert (old.model_id, old.variant, old.revision) == ("m1", "", 7)
            new = await record(here, by_upstream["i-2"].headers["x-request-id"])
            assert (new.service_id, new.model_id, new.variant) == (S, "m2", "next")
            assert (new.revision, new.instance_id, new.attempts) == (8, "i-2", 1)
            assert (new.status, new.flags, new.lost) == (200, (), False)
            assert abs(new.at - SystemClock().now_ms()) < 10_000
            assert 0 < new.duration_ms < 5_000
            assert await here.gateway.requests.find("0" * 36) is None
            assert await here.gateway.requests.find("forged id\n") is None


async def test_only_predictions_are_logged_and_nothing_of_the_client(tmp_path: Path) -> None:
    async with upstreams("a") as (a,), world(tmp_path, [service(S, version("m", 100, a))]) as here:
        forged = f"x\n{S}/m 1 1 500 UH 1 1 a {T} predict"
        token = here.tokens.token()
        answer = await here.predict(
            S, headers=[("x-request-id", forged.replace("\n", "\t")), ("user-agent", forged[:1])]
        )
        assert answer.headers["x-request-id"] != forged
        await here.predict(S, token=None)
        await here.predict(S, method="DELETE")
        await here.predict(T)
        await here.call("/v1/p/services")
        await record(here, answer.headers["x-request-id"])
        lines = here.settings.layout.request_log.read_text().splitlines()
        assert len(lines) == 1
        assert token not in lines[0]
        assert "\t" not in lines[0]


async def test_what_was_lost_is_told_from_what_was_not(tmp_path: Path) -> None:
    nobody = Endpoint("dead", "127.0.0.1", free_port())
    since = SystemClock().now_ms()
    async with upstreams("a", "b") as (a, b):
        async with world(tmp_path, [service(S, version("m1", 100, a))]) as here:
            publish = here.gateway.publish
            a.status = 500
            assert (await here.predict(S)).status == 500  # an error, but the model's own
            a.status = 200
            a.delay_s = 1
            _, writer = await asyncio.open_connection("127.0.0.1", here.settings.gateway.port)
            writer.write(request_bytes(f"/v1/infers/{S}", token=here.tokens.token()))
            await eventually(lambda: a.active == 1)
            writer.close()  # a client that leaves loses nothing by us
            await publish(service(S, version("m2", 100), revision=2))
            assert (await here.predict(S)).status == 503  # lost: no instance
            await publish(service(S, version("m3", 100, a), revision=3, timeout_s=0.2))
            assert (await here.predict(S)).status == 504  # lost: no answer in time
            await publish(service(S, version("m3", 0, a), revision=4))
            assert (await here.predict(S)).status == 503  # lost: no version
            both = VersionTraffic("m4", "m", "1", 100, (b.endpoint, nobody))
            await publish(service(S, both, revision=5))
            for _ in range(4):
                assert (await here.predict(S)).status == 200  # repeated, not lost
            found = await tallies(here, since)
        assert found[VersionKey("m1")].requests == 2
        assert (found[VersionKey("m1")].errors, found[VersionKey("m1")].lost) == (1, 0)
        assert (found[VersionKey("m2")].errors, found[VersionKey("m2")].lost) == (1, 1)
        assert (found[VersionKey("m3")].errors, found[VersionKey("m3")].lost) == (1, 1)
        # Envoy's clock and its timer are not one.
        assert found[VersionKey("m3")].longest_ms >= 150
        assert found[VersionKey("")].lost == 1
        m4 = found[VersionKey("m4")]
        assert (m4.requests, m4.errors, m4.lost, m4.resets) == (4, 0, 0, 0)
        assert m4.retried >= 1
        assert sum(m4.latencies) == 4


async def test_a_connection_that_broke_is_counted_though_hidden(tmp_path: Path) -> None:
    since = SystemClock().now_ms()
    async with (
        upstreams("a", "b", delay_s=0.2) as (a, b),
        world(tmp_path, [service(S, version("m", 100, a, b))]) as here,
    ):
        asking = asyncio.create_task(here.predict(S))
        await eventually(lambda: a.active + b.active == 1)
        await (a if a.active else b).stop()
        assert (await asking).status == 200
        found = (await tallies(here, since))[VersionKey("m")]
        assert (found.requests, found.lost, found.resets, found.retried) == (1, 0, 1, 1)


async def test_the_log_is_bounded_and_nothing_is_missed_in_rotation(tmp_path: Path) -> None:
    async with upstreams("a") as (a,):
        traffic = service(S, version("m", 100, a))
        async with world(tmp_path, [traffic], request_log_mb=1) as here:
            log, path = here.gateway.requests, here.settings.layout.request_log
            since = SystemClock().now_ms()
            rotations = 0
            first = ""
            async with here.load(S, connections=4, pause_s=0) as load:
                for _ in range(4):
                    await load.more(100)
                    first = first or (await here.predict(S)).headers["x-request-id"]
                    await log.tallies(S, since, SystemClock().now_ms())
                    await eventually(lambda: path.exists() and path.stat().st_size > 0)
                    inode = path.stat().st_ino
                    with path.open("ab") as padding:  # quicker than half a megabyte of requests
                        padding.write(b"".join(b"%01000d\n" % 0 for _ in range(530)))
                    await log.rotate()
                    rotations += 1
                    await eventually(lambda old=inode: path.exists() and path.stat().st_ino != old)
            found = (await tallies(here, since))[VersionKey("m")]
            assert await log.complete(S, since)
            assert not await log.complete(S, since - 1)
            assert (found.requests, found.lost) == (load.total + 1, 0)
            assert (found.requests, rotations) == (a.count, 4)
            assert len(os.listdir(here.settings.layout.logs_dir)) == 3  # with Envoy's own log
            assert (await log.find(first)) is None


async def test_the_log_can_be_off(tmp_path: Path) -> None:
    async with upstreams("a") as (a,):
        traffic = service(S, version("m", 100, a))
        async with world(tmp_path, [traffic], request_log_mb=0) as here:
            answer = await here.predict(S)
            assert answer.status == 200
            assert await here.gateway.requests.find(answer.headers["x-request-id"]) is None
            assert not await here.gateway.requests.complete(S, 0)
            await here.gateway.requests.rotate()
            assert not here.settings.layout.request_log.exists()


async def test_the_log_survives_the_gateway(tmp_path: Path) -> None:
    async with upstreams("a") as (a,):
        traffic = service(S, version("m", 100, a))
        async with world(tmp_path, [traffic]) as here:
            since = SystemClock().now_ms()
            before = (await here.predict(S)).headers["x-request-id"]
            await record(here, before)
            assert here.gateway.pid is not None
            os.kill(here.gateway.pid, signal.SIGKILL)
            await eventually(lambda: here.gateway.restarts == 1)

            async def serves() -> bool:
                try:
                    return (await here.predict(S)).status == 200
                except OSError:
                    return False

            await eventually(serves)
            assert (await record(here, before)).status == 200
            assert (await tallies(here, since))[VersionKey("m")].requests == a.count
            assert await here.gateway.requests.complete(S, since)
