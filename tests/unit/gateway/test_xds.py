"""The protocol's rules, without a network: what is sent, resent, acknowledged and refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import scoped_route_pb2
from envoy.service.discovery.v3 import discovery_pb2

from modelyard.gateway.xds.cache import Cache, RefusedError
from modelyard.gateway.xds.resources import Key, Kind, Resource, resource
from modelyard.gateway.xds.stream import Sent, Stream


def cluster(name: str, text: str = "") -> Resource:
    return resource(name, cluster_pb2.Cluster(name=name, alt_stat_name=text))


def endpoints(name: str) -> Resource:
    return resource(name, endpoint_pb2.ClusterLoadAssignment(cluster_name=name))


class Envoy:
    """A scripted Envoy on a stream."""

    def __init__(self, cache: Cache) -> None:
        self.stream = Stream(cache, Sent(), linger_s=0.05)
        cache.join(self.stream)

    def ask(self, kind: Kind, *names: str, **fields: Any) -> list[Any]:
        self.stream.heard(
            discovery_pb2.DeltaDiscoveryRequest(
                type_url=kind.value, resource_names_subscribe=names, **fields
            )
        )
        return self.hear()

    def hear(self) -> list[Any]:
        return list(self.stream.responses())

    def ack(self, response: Any) -> None:
        self.ask(Kind(response.type_url), response_nonce=response.nonce)

    def nack(self, response: Any) -> list[Any]:
        return self.ask(
            Kind(response.type_url), response_nonce=response.nonce, error_detail={"message": "no"}
        )


def names(response: Any) -> list[str]:
    return [item.name for item in response.resources]


async def test_a_wildcard_kind_gets_everything_then_changes() -> None:
    cache = Cache()
    cache.apply([cluster("a"), cluster("b")])
    envoy = Envoy(cache)
    (first,) = envoy.ask(Kind.CLUSTER)
    assert names(first) == ["a", "b"]
    cache.apply([cluster("a")])
    assert envoy.hear() == []
    cache.apply([cluster("b", "new")], remove=[Key(Kind.CLUSTER, "a")])
    (second,) = envoy.hear()
    assert (names(second), list(second.removed_resources)) == (["b"], ["a"])


async def test_an_empty_wildcard_is_answered() -> None:
    (response,) = Envoy(Cache()).ask(Kind.LISTENER)
    assert names(response) == []


async def test_a_named_kind_gets_what_it_asks_for() -> None:
    cache = Cache()
    cache.apply([endpoints("a"), endpoints("b")])
    envoy = Envoy(cache)
    (response,) = envoy.ask(Kind.ENDPOINTS, "a", "missing")
    assert (names(response), list(response.removed_resources)) == (["a"], ["missing"])
    cache.apply(remove=[Key(Kind.ENDPOINTS, "b")])
    assert envoy.hear() == []
    # A cluster that warms up again asks again, and is answered though nothing changed.
    assert [names(r) for r in envoy.ask(Kind.ENDPOINTS, "a")] == [["a"]]


async def test_a_reconnected_envoy_is_sent_only_the_difference() -> None:
    cache = Cache()
    same, changed = cluster("same"), cluster("changed")
    cache.apply([same, changed, endpoints("same")])
    envoy = Envoy(cache)
    held = {"same": same.version, "changed": "old", "gone": "x"}
    (response,) = envoy.ask(Kind.CLUSTER, initial_resource_versions=held)
    assert (names(response), list(response.removed_resources)) == (["changed"], [])
    async with asyncio.timeout(5):  # what is gone stays a while for requests under way
        envoy.stream.wake.clear()
        await envoy.stream.wake.wait()
    (later,) = envoy.hear()
    assert (names(later), list(later.removed_resources)) == ([], ["gone"])
    assert (
        envoy.ask(
            Kind.ENDPOINTS,
            "same",
            initial_resource_versions={"same": endpoints("same").version},
        )
        == []
    )


async def test_routes_wait_for_clusters_that_are_new_to_a_reconnected_envoy() -> None:
    cache = Cache()
    new, held = cluster("new"), cluster("held")
    scope = resource("s", scoped_route_pb2.ScopedRouteConfiguration(name="s"))
    cache.apply([new, held, endpoints("new"), scope])
    envoy = Envoy(cache)
    (clusters,) = envoy.ask(Kind.CLUSTER, initial_resource_versions={"held": held.version})
    assert envoy.ask(Kind.SCOPE, initial_resource_versions={"s": "old"}) == []
    envoy.ack(clusters)
    assert envoy.hear() == []
    (members,) = envoy.ask(Kind.ENDPOINTS, "new")
    (routing,) = envoy.ask(Kind.ENDPOINTS, response_nonce=members.nonce)
    assert names(routing) == ["s"]
    envoy.stream.close()


async def test_waiting_ends_with_the_acknowledgement() -> None:
    cache = Cache()
    envoy = Envoy(cache)
    envoy.ask(Kind.CLUSTER)
    item = cluster("a")
    cache.apply([item])
    waiting = asyncio.create_task(cache.acknowledged({item.key: item.version}, 5))
    await asyncio.sleep(0)
    (response,) = envoy.hear()
    assert not waiting.done()
    envoy.ack(response)
    await waiting
    assert cache.in_force({item.key: item.version})
    cache.apply(remove=[item.key])
    waiting = asyncio.create_task(cache.acknowledged({item.key: None}, 5))
    await asyncio.sleep(0)
    (response,) = envoy.hear()
    envoy.ack(response)
    await waiting


async def test_waiting_ends_when_nobody_acknowledges() -> None:
    cache = Cache()
    item = cluster("a")
    cache.apply([item])
    with pytest.raises(TimeoutError):
        await cache.acknowledged({item.key: item.version}, 0.01)
    assert not cache.in_force({item.key: item.version})


async def test_one_bad_resource_does_not_spoil_the_others() -> None:
    cache = Cache()
    envoy = Envoy(cache)
    envoy.ask(Kind.CLUSTER)
    good, bad = cluster("good"), cluster("bad")
    cache.apply([good, bad])
    waits = [
        asyncio.create_task(cache.acknowledged({item.key: item.version}, 5)) for item in (good, bad)
    ]
    await asyncio.sleep(0)
    (both,) = envoy.hear()
    bad_alone, good_alone = envoy.nack(both)
    assert (names(bad_alone), names(good_alone)) == (["bad"], ["good"])
    assert envoy.nack(bad_alone) == []
    envoy.ack(good_alone)
    await waits[0]
    with pytest.raises(RefusedError, match="no"):
        await waits[1]
