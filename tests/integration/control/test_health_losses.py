"""A model's process that dies and is replaced in place: its service's owner reads of it, once."""

from __future__ import annotations

from pathlib import Path

from loop_support import M1, Bench, loop_bench, version
from modelyard.control.reconciler.health import HealthWatch


def watch(bench: Bench) -> HealthWatch:
    """As a control plane has it that was just started."""
    return HealthWatch(bench.database, bench.clock, bench.runtime, lambda _: None)


async def losses(bench: Bench, service_id: str) -> list[str]:
    events = await bench.events(service_id)
    return [text.partition(": ")[2] for text in events if "died and was replaced" in text]


async def test_each_loss_is_told_once_whoever_looks(tmp_path: Path) -> None:
    async with loop_bench(tmp_path) as bench:
        service_id = await bench.create(version(M1, 100))
        await bench.settle(service_id)
        [instance_id] = bench.runtime.alive()
        first = watch(bench)
        await first.check()
        assert await losses(bench, service_id) == []
        bench.runtime.losses[instance_id] = (1, "out of memory: over the 512 MB")
        await first.check()
        await first.check()
        once = (
            "the process of its model died and was replaced (once so far): "
            "out of memory: over the 512 MB"
        )
        assert await losses(bench, service_id) == [once]
        second = watch(bench)
        await second.check()
        assert await losses(bench, service_id) == [once]
        bench.runtime.losses[instance_id] = (4, "it was killed by SIGSEGV")
        await second.check()
        again = (
            "the process of its model died and was replaced (4 times so far): "
            "it was killed by SIGSEGV"
        )
        assert await losses(bench, service_id) == [once, again]
