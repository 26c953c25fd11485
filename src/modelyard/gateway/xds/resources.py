"""One xDS resource and what is known about its kind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

_PREFIX = "type.googleapis.com/"


class Kind(StrEnum):
    """The resource types we serve, in the order in which Envoy must learn of them."""

    CLUSTER = _PREFIX + "envoy.config.cluster.v3.Cluster"
    ENDPOINTS = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
    EXTENSION = _PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
    LISTENER = _PREFIX + "envoy.config.listener.v3.Listener"
    SCOPE = _PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"
    ROUTES = _PREFIX + "envoy.config.route.v3.RouteConfiguration"


WILDCARD_KINDS = frozenset({Kind.CLUSTER, Kind.LISTENER, Kind.SCOPE})
"""Kinds of which Envoy takes all there are; the others it asks for by name."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a resource is called among all resources."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource with its version, which is a digest of the content.

    A digest, not a counter: a restarted control plane gives the same versions again, and an Envoy
    that has them is sent nothing.
    """

    key: Key
    version: str
    payload: AnyMessage


def resource(name: str, message: Message, depends_on: str = "") -> Resource:
    """``message`` as a resource.

    ``depends_on`` is the version of another resource whose change makes Envoy ask for this one
    again (a changed cluster warms up by its endpoints), so that it must count as changed, too.
    """
    payload = AnyMessage()
    payload.Pack(message, deterministic=True)
    digest = hashlib.blake2b(payload.value, digest_size=12, key=depends_on.encode()[:64])
    return Resource(Key(Kind(payload.type_url), name), digest.hexdigest(), payload)
