"""A former revision that stays loaded: how long, and what counts as taking room ."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from loop_support import AUTHOR, M1, M2, Bench, loop_bench, version
from modelyard.control.changes.admission import ChangeKind, ChangeRequest

KEEP = {"rollout": {"keep_former_minutes": 5}}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with loop_bench(tmp_path) as made:
        yield made


@pytest.fixture
async def service_id(bench: Bench) -> str:
    made = await bench.create(version(M1, 100), additional_properties=KEEP)
    await bench.settle(made)
    await bench.update(made, config=[version(M2, 100)])
    await bench.settle(made)
    assert (await bench.service(made)).kept_revision == 1
    return made


async def _nothing_kept(bench: Bench, service_id: str) -> bool:
    service = await bench.service(service_id)
    return (service.kept_revision, service.kept_until) == (None, None)


async def test_its_end_has_a_timer(bench: Bench, service_id: str) -> None:
    service = await bench.service(service_id)
    assert service.check_at == service.kept_until


async def test_one_that_died_is_forgotten(bench: Bench, service_id: str) -> None:
    [idle] = bench.runtime.alive(M1)
    bench.runtime.kill(idle)
    await bench.settle(service_id)
    assert await _nothing_kept(bench, service_id)


async def test_one_that_serves_again_is_forgotten(bench: Bench, service_id: str) -> None:
    await bench.update(service_id, additional_properties={})
    await bench.changes.change(AUTHOR, service_id, ChangeRequest(ChangeKind.ROLLBACK, 1))
    await bench.settle(service_id)
    assert (await bench.service(service_id)).live_revision == 3
    assert await _nothing_kept(bench, service_id)


async def test_a_stopped_service_keeps_nothing(bench: Bench, service_id: str) -> None:
    await bench.update(service_id, status="stopped")
    await bench.settle(service_id)
    assert (await bench.service(service_id)).status == "stopped"
    assert await _nothing_kept(bench, service_id)
