"""The operator's check script within a guarded rollout: real passes, a real script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loop_support import M1, M2, Bench, loop_bench, version
from modelyard.control.reconciler.reconcile import reconcile
from modelyard.errors import InvalidRequest

DEADLINE_S = 30


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with loop_bench(tmp_path) as made:
        yield made
        await made.checks.close()


def write_check(bench: Bench, body: str) -> None:
    path = bench.parts.settings.layout.checks_dir / "ask"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)


async def guarded(bench: Bench, **members: Any) -> str:
    """A service whose update to another model is watched by the script; gives its id."""
    service_id = await bench.create(version(M1, 100))
    await bench.settle(service_id)
    rollout = {"steps": [10, 50], "hold_seconds": 1, "min_samples": 10, "check": "ask"} | members
    await bench.update(
        service_id, config=[version(M2, 100)], additional_properties={"rollout": rollout}
    )
    return service_id


async def result(bench: Bench, service_id: str) -> tuple[str, str]:
    """Run passes under traffic that nobody complains about until the update is over."""
    async with asyncio.timeout(DEADLINE_S):
        while (log := (await bench.logs(service_id))[-1]).result == "RUNNING":
            await reconcile(bench.parts, service_id)
            bench.clock.pass_ms(200)
            bench.requests.count(service_id, M1, 100)
            bench.requests.count(service_id, M2, 100)
            await asyncio.sleep(0.005)
    return log.result, log.reason


async def test_a_script_that_agrees_lets_each_step_go_on(bench: Bench) -> None:
    write_check(bench, "cat >> asked; echo fine")
    service_id = await guarded(bench)
    assert await result(bench, service_id) == ("SUCCESS", "")
    told = [info for info in await bench.events(service_id) if "check ask agrees: fine" in info]
    assert [info[:35] for info in told] == [
        "guarded rollout: step 1 of 2 goes o",
        "guarded rollout: step 2 of 2 goes o",
    ]
    asked = (bench.parts.settings.layout.checks_dir / "asked").read_text()
    assert asked.count('"target_revision": 2') == 2


async def test_a_script_that_refuses_has_the_update_rolled_back(bench: Bench) -> None:
    write_check(bench, "echo 'the warehouse complains'; exit 1")
    service_id = await guarded(bench)
    assert await result(bench, service_id) == (
        "FAIL",
        "check ask refuses: the warehouse complains",
    )
    assert (await bench.service(service_id)).desired_revision == 1


async def test_an_unknown_script_is_refused_before_anything_changes(bench: Bench) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await guarded(bench)
    assert [p.field for p in refusal.value.problems] == ["additional_properties.rollout.check"]
