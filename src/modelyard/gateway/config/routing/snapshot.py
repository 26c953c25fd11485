"""One service's traffic as Envoy resources (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from envoy.config.route.v3 import scoped_route_pb2

from modelyard.domain.service.traffic import Endpoint, LoadBalancerPolicy, ServiceTraffic
from modelyard.gateway.config.resources import names
from modelyard.gateway.config.resources.clusters import assignment, version_cluster
from modelyard.gateway.config.routing.routes import (
    control_plane_routes,
    service_routes,
    version_cluster_name,
)
from modelyard.gateway.xds.resources import Kind, Resource, resource


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every resource of one scope, in the two steps in which they are published.

    ``targets``: clusters and endpoints, which must be in force before ``routing`` (scope,
    then routes) may name them. ``instances``: host and port of everything that can get a request.
    """

    name: str
    targets: tuple[Resource, ...]
    routing: tuple[Resource, ...]
    instances: frozenset[tuple[str, int]] = frozenset()

    @property
    def routing_version(self) -> str:
        """A digest that differs whenever requests are led differently."""
        return self.routing[-1].version

    def __iter__(self) -> Iterator[Resource]:
        yield from self.targets
        yield from self.routing


def _scope(name: str, service_key: str) -> Resource:
    """The scope of the requests with ``service_key``, with the routes called like itself."""
    key = scoped_route_pb2.ScopedRouteConfiguration.Key(
        fragments=[scoped_route_pb2.ScopedRouteConfiguration.Key.Fragment(string_key=service_key)]
    )
    return resource(
        name,
        scoped_route_pb2.ScopedRouteConfiguration(
            name=name, route_configuration_name=name, key=key
        ),
    )


# Most updates leave most versions as they are.
@lru_cache(maxsize=4096)
def _targets(
    name: str,
    policy: LoadBalancerPolicy,
    shadow: bool,
    endpoints: tuple[Endpoint, ...],
    said: str,
    tls: bool,
) -> tuple[Resource, Resource]:
    """The cluster of one version, and its endpoints; ``said``: the version, if we are to tell."""
    cluster = resource(name, version_cluster(name, policy, shadow=shadow, tls=tls))
    members = resource(name, assignment(name, endpoints, said), depends_on=cluster.version)
    return cluster, members


@lru_cache(maxsize=4096)
def _service_scope(service_id: str) -> Resource:
    return _scope(service_id, service_id)


def service_snapshot(traffic: ServiceTraffic, *, retry_resets: bool) -> Snapshot:
    """All that Envoy must know of one service (envoy.md, Configuration path)."""
    service_id = traffic.service_id
    targets: list[Resource] = []
    versions = traffic.versions if traffic.serving else ()
    for version in versions:
        name = version_cluster_name(service_id, version)
        said = version.model_version if version.bare else ""
        copies = version.gets_copies
        targets += _targets(name, traffic.policy, copies, version.endpoints, said, version.tls)
    routes = resource(service_id, service_routes(traffic, retry_resets))
    return Snapshot(
        service_id,
        tuple(targets),
        (_service_scope(service_id), routes),
        frozenset((end.host, end.port) for version in versions for end in version.endpoints),
    )


def control_plane_snapshot() -> Snapshot:
    """The scope of everything that is not a prediction; its cluster is in the bootstrap."""
    scope = _scope(names.CONTROL_PLANE, names.CONTROL_PLANE_SCOPE)
    routes = resource(names.CONTROL_PLANE, control_plane_routes())
    return Snapshot(names.CONTROL_PLANE, (), (scope, routes))


def clusters_of(snapshot: Snapshot) -> frozenset[str]:
    """Names of the clusters that a snapshot defines."""
    return frozenset(r.key.name for r in snapshot.targets if r.key.kind is Kind.CLUSTER)
