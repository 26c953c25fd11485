"""Does every reference in a snapshot resolve? The publisher asks before Envoy would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_pb2, scoped_route_pb2
from envoy.extensions.router.cluster_specifiers.lua.v3 import lua_pb2

from modelyard.errors import InternalFailure
from modelyard.gateway.config.routing.snapshot import Snapshot
from modelyard.gateway.config.routing.wrr_lua import program_clusters
from modelyard.gateway.xds.resources import Kind, Resource


def _routed_clusters(routes: Resource) -> Iterator[str]:
    """Clusters that a route configuration names."""
    config = route_pb2.RouteConfiguration()
    routes.payload.Unpack(config)
    for host in config.virtual_hosts:
        for entry in host.routes:
            if entry.route.cluster:
                yield entry.route.cluster
            yield from (mirror.cluster for mirror in entry.route.request_mirror_policies)
    for plugin in config.cluster_specifier_plugins:
        program = lua_pb2.LuaConfig()
        plugin.extension.typed_config.Unpack(program)
        yield program.default_cluster
        yield from program_clusters(program.source_code.inline_string)


def problems(snapshot: Snapshot, known_clusters: Iterable[str] = ()) -> list[str]:
    """What is wrong with a snapshot; ``known_clusters`` are defined elsewhere."""
    by_kind: dict[Kind, dict[str, Resource]] = {kind: {} for kind in Kind}
    found = []
    for item in snapshot:
        if item.key.name in by_kind[item.key.kind]:
            found.append(f"{item.key.kind} {item.key.name} is there twice")
        by_kind[item.key.kind][item.key.name] = item
    clusters, endpoints = by_kind[Kind.CLUSTER], by_kind[Kind.ENDPOINTS]
    found += [f"cluster {name} has no endpoint list" for name in clusters.keys() - endpoints]
    found += [f"endpoints {name} have no cluster" for name in endpoints.keys() - clusters]
    for item in endpoints.values():
        members = endpoint_pb2.ClusterLoadAssignment()
        item.payload.Unpack(members)
        if members.cluster_name != item.key.name:
            found.append(f"endpoints {item.key.name} are of {members.cluster_name}")
    for item in by_kind[Kind.SCOPE].values():
        scope = scoped_route_pb2.ScopedRouteConfiguration()
        item.payload.Unpack(scope)
        if scope.route_configuration_name not in by_kind[Kind.ROUTES]:
            found.append(f"scope {item.key.name} names no known routes")
    for item in by_kind[Kind.ROUTES].values():
        for name in set(_routed_clusters(item)) - clusters.keys() - set(known_clusters):
            found.append(f"routes {item.key.name} name the unknown cluster {name}")
    return found


def require_consistent(snapshot: Snapshot, known_clusters: Iterable[str] = ()) -> None:
    """Raises ``InternalFailure`` naming what does not resolve."""
    if wrong := problems(snapshot, known_clusters):
        raise InternalFailure(f"Traffic of {snapshot.name} is inconsistent: {'; '.join(wrong)}.")
