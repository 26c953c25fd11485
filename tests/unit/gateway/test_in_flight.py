"""A resource that is on its way to Envoy is in force in no version until Envoy has said so."""

from __future__ import annotations

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any

from modelyard.gateway.xds.cache import Cache
from modelyard.gateway.xds.resources import Key, Kind, Resource
from modelyard.gateway.xds.stream import Sent, Stream

KEY = Key(Kind.ROUTES, "service")


def routes(version: str) -> Resource:
    return Resource(KEY, version, Any())


def acknowledge(stream: Stream, nonce: str) -> None:
    stream.heard(
        discovery_pb2.DeltaDiscoveryRequest(type_url=Kind.ROUTES.value, response_nonce=nonce)
    )


def test_a_version_that_is_being_replaced_is_not_in_force() -> None:
    """The control plane died after it had published "new" and before it wrote that down."""
    cache = Cache()
    cache.apply([routes("old")])
    stream = Stream(cache, Sent(), linger_s=1.0)
    cache.join(stream)
    stream.heard(
        discovery_pb2.DeltaDiscoveryRequest(
            type_url=Kind.ROUTES.value,
            resource_names_subscribe=[KEY.name],
            initial_resource_versions={KEY.name: "new"},
        )
    )
    [back] = stream.responses()
    cache.apply([routes("new")])
    assert not cache.in_force({KEY: "new"}), "Envoy is about to take over the old one"
    [forth] = stream.responses()
    acknowledge(stream, back.nonce)
    assert not cache.in_force({KEY: "new"})
    acknowledge(stream, forth.nonce)
    assert cache.in_force({KEY: "new"})
