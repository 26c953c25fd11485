"""When clusters that no route names any more are removed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from envoy.config.cluster.v3 import cluster_pb2

from modelyard.gateway.retirement import LINGER_S, Retirement
from modelyard.gateway.xds.cache import Cache
from modelyard.gateway.xds.resources import Kind, resource

TIMEOUT_S = 40.0


class Service:
    """One service ``s`` that moves from cluster to cluster."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.current = ""
        self.retirement = Retirement(self.cache, lambda _: {self.current})

    def use(self, name: str) -> None:
        """As a publish does."""
        self.current = name
        self.retirement.define("s", {name})
        self.cache.apply([resource(name, cluster_pb2.Cluster(name=name))])
        self.retirement.schedule("s", TIMEOUT_S)

    @property
    def clusters(self) -> set[str]:
        return set(self.cache.names(Kind.CLUSTER))


@contextmanager
def retiring() -> Iterator[Service]:
    service = Service()
    try:
        yield service
    finally:
        service.retirement.stop()


class Time:
    """The running loop's clock, put forward by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        real, self._ahead = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead)

    async def passes(self, seconds: float) -> None:
        self._ahead += seconds
        for _ in range(3):  # a turn to see that timers are due, one to run them
            await asyncio.sleep(0)


async def test_frequent_updates_do_not_put_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch)
    with retiring() as service:
        for number in range(12):
            service.use(f"c{number}")
            await time.passes(10)
        # c7 was left 40 s ago, c6 50 s.
        assert service.clusters == {"c7", "c8", "c9", "c10", "c11"}


async def test_a_cluster_in_use_again_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch)
    with retiring() as service:
        service.use("a")
        service.use("b")
        await time.passes(30)
        service.use("a")
        service.use("c")  # from now on ``a`` has its whole time again
        await time.passes(20)
        assert service.clusters == {"a", "b", "c"}
        await time.passes(20 + LINGER_S + 1)
        assert service.clusters == {"c"}
        service.use("b")
        await time.passes(100)
        assert service.clusters == {"b"}
