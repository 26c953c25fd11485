"""Traffic through a real Envoy: split, changes under load, retries."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from gateway_support import (
    Upstream,
    World,
    eventually,
    free_port,
    request_bytes,
    service,
    upstreams,
    version,
    world,
)

from modelyard.domain.service.traffic import Endpoint, LoadBalancerPolicy, VersionTraffic

S = "11111111-0000-4000-8000-000000000001"
T = "11111111-0000-4000-8000-000000000002"


async def split(here: World, service_id: str, requests: int) -> Counter[str]:
    """Which upstream answered, over one connection after another."""
    counted: Counter[str] = Counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", here.settings.gateway.port)
    request = request_bytes(f"/v1/infers/{service_id}", token=here.tokens.token())
    for _ in range(requests):
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        await reader.readexactly(length)
        assert " 200 " in head.split("\r\n")[0], head
        counted[head.split("x-upstream: ")[1].split("\r\n")[0]] += 1
    writer.close()
    return counted


async def test_a_published_service_answers_at_its_address(tmp_path: Path) -> None:
    async with upstreams("a") as (a,), world(tmp_path) as here:
        assert (await here.predict(S)).status == 404
        await here.gateway.publish(service(S, version("m", 100, a), revision=7))
        answer = await here.predict(S)
        assert answer.status == 200
        assert answer.headers["x-modelyard-revision"] == "7"
        assert answer.headers["server"] == "modelyard"
        assert answer.headers["x-request-id"]
        assert not [name for name in answer.headers if name.startswith("x-envoy")]
        assert (await here.call(f"/v1/infers/{S}/deep/er?q=1&r=a%20b")).json()["path"] == (
            "/deep/er?q=1&r=a%20b"
        )
        await here.gateway.withdraw(S)
        gone = await here.predict(S)
        assert (gone.status, gone.code) == (404, "ModelArts.4204")


async def test_identical_content_is_not_sent_again(tmp_path: Path) -> None:
    async with upstreams("a") as (a,), world(tmp_path) as here:
        traffic = service(S, version("m", 100, a))
        await here.gateway.publish(traffic)
        sent = here.gateway.sent.responses
        await here.gateway.publish(traffic)
        assert here.gateway.sent.responses == sent


async def test_the_split_is_exact_over_each_hundred(tmp_path: Path) -> None:
    async with upstreams("a", "b", "c", "d") as (a, b, c, d):
        traffic = service(
            S, version("m1", 70, a), version("m2", 20, b), version("m3", 10, c), version("m4", 0, d)
        )
        async with world(tmp_path, [traffic]) as here:
            for _ in range(5):
                assert await split(here, S, 100) == {"a": 70, "b": 20, "c": 10}
            await here.gateway.publish(
                service(S, version("m1", 1, a), version("m2", 99, b), revision=2)
            )
            assert await split(here, S, 200) == {"a": 2, "b": 198}
            await here.gateway.publish(
                service(S, version("m1", 0, a), version("m2", 100, b), revision=3)
            )
            assert await split(here, S, 50) == {"b": 50}
            assert d.count == 0
            stats = await here.gateway.stats.clusters(S)
            assert stats[f"{S}/m1"].total == 352
            assert stats[f"{S}/m2"].ok == 348
            assert {one.active for one in stats.values()} == {0}


async def test_refused_requests_between_do_not_bend_the_split(tmp_path: Path) -> None:
    async with upstreams("a", "b") as (a, b):
        traffic = service(S, version("m1", 50, a), version("m2", 50, b))
        async with world(tmp_path, [traffic]) as here:
            for _ in range(60):
                assert (await here.predict(S, token=None)).status == 401
                assert (await here.predict(S)).status == 200
            assert (a.count, b.count) == (30, 30)


async def test_a_version_without_instances_leaves_its_share(tmp_path: Path) -> None:
    async with upstreams("a", "c") as (a, c):
        traffic = service(S, version("m1", 70, a), version("m2", 20), version("m3", 10, c))
        async with world(tmp_path, [traffic]) as here:
            assert await split(here, S, 80) == {"a": 70, "c": 10}
            await here.gateway.publish(service(S, version("m1", 70), version("m2", 30), revision=2))
            answer = await here.predict(S)
            assert (answer.status, answer.code) == (503, "ModelArts.4302")


async def test_instances_of_a_version_take_turns(tmp_path: Path) -> None:
    async with upstreams("a", "b", "c") as (a, b, c):
        traffic = service(S, version("m1", 100, a, b, c))
        async with world(tmp_path, [traffic]) as here:
            assert await split(here, S, 30) == {"a": 10, "b": 10, "c": 10}
            await here.gateway.publish(
                service(
                    S,
                    version("m1", 100, a, b, c),
                    revision=2,
                    policy=LoadBalancerPolicy.SOURCE_IP,
                )
            )
            assert len(await split(here, S, 30)) == 1
            await here.gateway.publish(
                service(
                    S,
                    version("m1", 100, a, b, c),
                    revision=3,
                    policy=LoadBalancerPolicy.LEAST_CONNECTIONS,
                )
            )
            assert (await split(here, S, 30)).total() == 30


async def test_weights_change_under_load(tmp_path: Path) -> None:
    chance = random.Random(1)
    async with upstreams("a", "b", delay_s=0.002) as (a, b):
        traffic = service(S, version("m1", 100, a), version("m2", 0, b))
        async with world(tmp_path, [traffic], gateway_workers=2) as here:
            async with here.load(S) as load:
                for revision in range(2, 32):
                    weight = chance.randint(0, 100)
                    await here.gateway.publish(
                        service(
                            S,
                            version("m1", weight, a),
                            version("m2", 100 - weight, b),
                            revision=revision,
                        )
                    )
                    await load.more(10)
            assert load.failures == []
            assert load.by_upstream.total() == load.total


@pytest.mark.parametrize("retry_resets", [True, False])
async def test_endpoints_and_versions_come_and_go_under_load(
    tmp_path: Path, retry_resets: bool
) -> None:
    async with upstreams("base", delay_s=0.005) as (base,):
        traffic = service(S, version("base", 50, base))
        async with world(tmp_path, [traffic], retry_resets=retry_resets) as here:
            async with here.load(S) as load:
                for turn in range(12):
                    fresh = await Upstream(f"fresh-{turn}", delay_s=0.005).start()
                    if turn % 2:  # an instance more of the version that stays
                        changed = service(S, version("base", 50, base, fresh), revision=turn)
                    else:  # a version more
                        changed = service(
                            S, version("base", 50, base), version(f"m{turn}", 50, fresh)
                        )
                    await here.gateway.publish(changed)
                    await eventually(lambda one=fresh: one.count > 3)
                    await here.gateway.publish(service(S, version("base", 50, base)))
                    await fresh.drain()
            assert load.failures == []


async def test_a_dead_instance_is_hidden_by_retries(tmp_path: Path) -> None:
    nobody = Endpoint("dead", "127.0.0.1", free_port())
    async with upstreams("a") as (a,):
        both = VersionTraffic("m1", "m", "1", 100, (a.endpoint, nobody))
        async with world(tmp_path, [service(S, both)]) as here:
            assert await split(here, S, 60) == {"a": 60}
            await here.gateway.publish(
                service(S, VersionTraffic("m1", "m", "1", 100, (nobody,)), revision=2)
            )
            answer = await here.predict(S)
            assert (answer.status, answer.code) == (503, "ModelArts.4302")


async def test_a_large_upload_survives_a_dead_instance(tmp_path: Path) -> None:
    nobody = Endpoint("dead", "127.0.0.1", free_port())
    async with upstreams("a") as (a,):
        both = VersionTraffic("m1", "m", "1", 100, (a.endpoint, nobody))
        async with world(tmp_path, [service(S, both)]) as here:
            for _ in range(4):
                answer = await here.predict(S, body=b"x" * 5_000_000)
                assert (answer.status, answer.json()["length"]) == (200, 5_000_000)


async def test_a_killed_instance_loses_only_what_it_computed(tmp_path: Path) -> None:
    async with upstreams("a", "b", delay_s=0.005) as (a, b):
        traffic = service(S, version("m1", 100, a, b))
        async with world(tmp_path, [traffic], retry_resets=True) as here:
            async with here.load(S) as load:
                await load.more(50)
                await b.stop()
                await load.more(200)
            assert load.failures == []


async def test_services_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async with upstreams("a") as (a,), world(tmp_path) as here:
        await asyncio.gather(
            *(
                here.gateway.publish(service(f"s-{n}", version("m", 100, a), revision=r))
                for n in range(20)
                for r in (1, 2, 3)
            )
        )
        for n in range(20):
            answer = await here.predict(f"s-{n}")
            assert (answer.status, answer.headers["x-modelyard-revision"]) == (200, "3")


async def test_unused_clusters_are_removed_when_no_request_can_need_them(tmp_path: Path) -> None:
    async with upstreams("a", "b") as (a, b):
        first = service(S, version("m1", 50, a), version("m2", 50, b), timeout_s=0.2)
        async with world(tmp_path, [first]) as here:
            await here.gateway.publish(service(S, version("m1", 100, a), timeout_s=0.2))

            async def gone() -> bool:
                return f"{S}/m2::" not in await here.gateway.stats.get("/clusters")

            assert not await gone()
            await eventually(gone)
            assert (await here.predict(S)).status == 200


async def test_instances_see_no_token_and_no_internal_header(tmp_path: Path) -> None:
    async with upstreams("a") as (a,), world(tmp_path, [service(S, version("m", 100, a))]) as here:
        spoofed = [
            ("x-modelyard-scope", f"/v1/infers/{T}"),
            ("X-Modelyard-Scope", f"/v1/infers/{T}"),
            ("x-subject-token", "secret"),
            ("x-modelyard-health", "1"),
            ("x-envoy-upstream-rq-timeout-ms", "1"),
            ("x-envoy-internal", "true"),
            ("x-envoy-original-path", "/secret"),
            ("x-custom", "kept"),
        ]
        assert (await here.predict(S, headers=spoofed)).status == 200
        seen = a.seen[-1].headers
        assert seen["x-custom"] == "kept"
        internal = ("x-auth-token", "x-subject-token", "x-modelyard", "x-envoy")
        assert not [name for name in seen if name.startswith(internal)]
        assert (await here.call("/v1/p/services", headers=spoofed)).status == 200
        to_api = here.api.seen[-1].headers
        assert to_api["x-auth-token"]
        assert "x-modelyard-scope" not in to_api
        assert not [name for name in to_api if name.startswith("x-envoy")]
