"""One update costs the same beside a thousand services (design.md, constant cost)."""

from __future__ import annotations

from pathlib import Path

from gateway_support import service, upstreams, version, world


async def test_an_update_sends_the_same_beside_a_thousand_services(tmp_path: Path) -> None:
    sent: dict[int, tuple[int, int, int, int]] = {}
    async with upstreams("a", "b") as (a, b):
        for count in (1, 1000):
            traffics = [
                service(f"{n:036}", version("m1", 70, a), version("m2", 30, b))
                for n in range(count)
            ]
            async with world(tmp_path / str(count), traffics) as here:
                last = f"{count - 1:036}"
                assert (await here.predict(last)).status == 200
                before = here.gateway.sent
                start = (before.responses, before.resources, before.removals, before.bytes)
                await here.gateway.publish(
                    service(last, version("m1", 10, a), version("m2", 90, b), revision=2)
                )
                assert (await here.predict(last)).headers["x-modelyard-revision"] == "2"
                after = here.gateway.sent
                now = (after.responses, after.resources, after.removals, after.bytes)
                sent[count] = tuple(x - y for x, y in zip(now, start, strict=True))  # type: ignore[assignment]
    assert sent[1][:3] == sent[1000][:3] == (1, 1, 0)
    assert abs(sent[1][3] - sent[1000][3]) < 64
    assert sent[1000][3] < 4096
