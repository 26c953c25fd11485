"""Limits and refusals, each in the API's error shape (inference.md §1.5, §1.6)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
from gateway_support import (
    OTHER_PROJECT,
    Upstream,
    World,
    eventually,
    exchange,
    service,
    upstreams,
    version,
    world,
)

S = "44444444-0000-4000-8000-000000000001"
STOPPED = "44444444-0000-4000-8000-000000000002"
EMPTY = "44444444-0000-4000-8000-000000000003"
LIMIT = 12 * 1024 * 1024


def refused(answer: object) -> tuple[int, str]:
    from gateway_support import Answer

    assert isinstance(answer, Answer)
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["error_code"] and body["error_msg"]
    return answer.status, body["error_code"]


async def test_the_body_limit_holds_for_both_framings(tmp_path: Path) -> None:
    async with upstreams("a") as (a,), world(tmp_path, [service(S, version("m", 100, a))]) as here:
        for chunked in (False, True):
            fits = await here.predict(S, body=b"x" * LIMIT, chunked=chunked)
            assert (fits.status, fits.json()["length"]) == (200, LIMIT)
            over = await here.predict(S, body=b"x" * (LIMIT + 1), chunked=chunked)
            assert refused(over) == (413, "ModelArts.4104")
            far_over = await here.predict(S, body=b"x" * (2 * LIMIT), chunked=chunked)
            assert refused(far_over) == (413, "ModelArts.4104")
            assert "12 MB" in far_over.json()["error_msg"]
        assert a.count == 2


@pytest.mark.parametrize("size", [10, 1000, 100_000])
async def test_small_limits_hold_too(tmp_path: Path, size: int) -> None:
    async with upstreams("a") as (a,):
        traffic = service(S, version("m", 100, a), body_limit=size)
        async with world(tmp_path, [traffic]) as here:
            for chunked in (False, True):
                fits = await here.predict(S, body=b"x" * size, chunked=chunked)
                assert (fits.status, fits.json()["length"]) == (200, size)
                over = await here.predict(S, body=b"x" * (size + 1), chunked=chunked)
                assert refused(over) == (413, "ModelArts.4104"), (size, chunked)


async def test_the_control_plane_gets_no_large_body(tmp_path: Path) -> None:
    most = 4 * 1024 * 1024
    async with world(tmp_path) as here:
        for chunked in (False, True):
            fits = await here.call("/v1/p/services", body=b"x" * most, chunked=chunked)
            assert (fits.status, fits.json()["length"]) == (200, most)
            for path in ("/v1/p/services", "/v3/auth/tokens", "/"):
                options = {"token": None, "body": b"x" * (most + 1), "chunked": chunked}
                over = await here.call(path, **options)
                assert refused(over) == (413, "ModelArts.4104"), path
                assert "4 MB" in over.json()["error_msg"]
        assert here.api.count == 2


async def test_a_slow_model_is_cut_off(tmp_path: Path) -> None:
    async with upstreams("slow", delay_s=30) as (slow,):
        traffic = service(S, version("m", 100, slow), timeout_s=0.3)
        async with world(tmp_path, [traffic]) as here:
            assert refused(await here.predict(S)) == (504, "ModelArts.4503")
            assert slow.count == 1  # not repeated


async def test_methods_states_and_projects(tmp_path: Path) -> None:
    async with upstreams("a") as (a,):
        traffics = [
            service(S, version("m", 100, a)),
            service(STOPPED, version("m", 100, a), serving=False),
            service(EMPTY, version("m", 0, a)),
        ]
        async with world(tmp_path, traffics) as here:
            for method in ("GET", "PUT", "DELETE", "OPTIONS"):
                answer = await here.predict(S, method=method)
                assert refused(answer) == (405, "ModelArts.0101")
                assert answer.headers["allow"] == "POST"
                assert (await here.predict(S, method=method, token=None)).status == 401
            # But for metadata and health of the Open Inference Protocol.
            assert (
                await here.predict(f"{S}/v2/health/ready", method="GET", body=b"")
            ).status == 200
            assert a.seen[-1].path == "/v2/health/ready"
            assert (await here.predict(f"{S}/v2", method="GET", body=b"", token=None)).status == 401
            assert (await here.predict(f"{S}/v1", method="GET", body=b"")).status == 405
            assert (await here.predict(f"{S}/v2/models/m", method="PUT")).status == 405
            assert refused(await here.predict(STOPPED)) == (400, "ModelArts.4203")
            assert refused(await here.predict(EMPTY)) == (503, "ModelArts.4302")
            assert a.count == 1
            foreign = here.tokens.token(OTHER_PROJECT)
            for service_id in (S, STOPPED, EMPTY):
                assert refused(await here.predict(service_id, token=foreign)) == (
                    403,
                    "ModelArts.0210",
                )
                assert (await here.predict(service_id, token=None)).status == 401
            await here.gateway.publish(
                service(S, version("m", 100, a), revision=2, methods=("GET", "POST"))
            )
            assert (await here.predict(S, method="GET", body=b"")).status == 200
            assert (await here.predict(S, method="HEAD", body=b"")).status == 405
            assert (await here.predict(S, method="POSTX")).status in (400, 405)


async def test_no_instance_answers(tmp_path: Path) -> None:
    async with world(tmp_path, [service(S, version("m", 100))]) as here:
        answer = await here.predict(S)
        assert refused(answer) == (503, "ModelArts.4302")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_an_instance_that_hangs_up(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    broken = Upstream("broken")
    broken.endpoint = type(broken.endpoint)(
        "broken", "127.0.0.1", server.sockets[0].getsockname()[1]
    )
    try:
        for resets in (True, False):
            traffic = service(S, version("m", 100, broken))
            async with world(tmp_path / str(resets), [traffic], retry_resets=resets) as here:
                assert refused(await here.predict(S)) == (503, "ModelArts.4302")
    finally:
        server.close()


@pytest.mark.parametrize("retry_resets", [True, False])
async def test_what_one_instance_did_not_compute_another_does(
    tmp_path: Path, retry_resets: bool
) -> None:
    async with (
        upstreams("well") as (well,),
        upstreams("ill", not_computed=True) as (ill,),
        world(
            tmp_path, [service(S, version("m", 100, well, ill))], retry_resets=retry_resets
        ) as here,
    ):
        large = await here.predict(S, body=b"x" * LIMIT)
        assert (large.status, large.json()["length"]) == (200, LIMIT)
        async with here.load(S) as load:
            await load.more(200)
            await eventually(lambda: ill.count > 10)  # it comes back after each ejection
        assert load.failures == []
        assert load.by_upstream.keys() == {"well"}


async def test_what_no_instance_computes_is_refused_promptly(tmp_path: Path) -> None:
    async with (
        upstreams("ill", not_computed=True) as (ill,),
        world(tmp_path, [service(S, version("m", 100, ill))]) as here,
    ):
        for turn in range(1, 6):
            started = time.monotonic()
            answer = await here.predict(S)
            assert time.monotonic() - started < 1
            assert refused(answer) == (503, "ModelArts.4302")
            assert "x-modelyard-not-computed" not in answer.headers
            assert ill.count == 5 * turn


async def test_the_models_own_errors_pass_untouched(tmp_path: Path) -> None:
    async with (
        upstreams("a", status=500) as (a,),
        world(tmp_path, [service(S, version("m", 100, a))]) as here,
    ):
        for status in (400, 404, 413, 500, 503):
            a.status = status
            answer = await here.predict(S)
            assert (answer.status, answer.json()["name"]) == (status, "a")


async def test_malformed_requests(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        port = here.settings.gateway.port
        assert refused(await exchange(port, b"nonsense\r\n\r\n")) == (400, "APIG.0201")
        long_header = [("x-long", "x" * 200_000)]
        assert refused(await here.call("/", headers=long_header)) == (431, "APIG.0201")
        many = [(f"x-{number}", "1") for number in range(400)]
        assert refused(await here.call("/", headers=many)) == (431, "APIG.0201")


async def test_a_silent_control_plane(tmp_path: Path) -> None:
    async with upstreams("a") as (a,), world(tmp_path, [service(S, version("m", 100, a))]) as here:
        await here.api.stop()
        here.settings.layout.api_socket.unlink(missing_ok=True)
        answer = await here.call("/v1/p/services")
        assert refused(answer) == (503, "ModelArts.4302")
        assert "modelyard status" in answer.json()["error_msg"]
        assert str(here.settings.home) not in answer.body.decode()
        assert (await here.predict(S)).status == 200


async def test_a_control_plane_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.api.stop()
        here.settings.layout.api_socket.unlink(missing_ok=True)
        waiting = asyncio.create_task(here.call("/v1/p/services"))
        await eventually(lambda: _retried(here))
        await here.api.start(unix=here.settings.layout.api_socket)
        assert (await waiting).status == 200


async def _retried(here: World) -> bool:
    text = await here.gateway.stats.get("/stats", filter="control-plane.upstream_rq_retry$")
    return int(text.rpartition(":")[2] or 0) > 0
