from __future__ import annotations

from dataclasses import replace

import pytest
from envoy.config.route.v3 import route_components_pb2, route_pb2

from modelyard.domain.service.traffic import (
    Endpoint,
    LoadBalancerPolicy,
    ServiceTraffic,
    VersionTraffic,
)
from modelyard.errors import InternalFailure
from modelyard.gateway.config.consistency import problems, require_consistent
from modelyard.gateway.config.routing.routes import shares
from modelyard.gateway.config.routing.snapshot import (
    Snapshot,
    clusters_of,
    control_plane_snapshot,
    service_snapshot,
)
from modelyard.gateway.xds.resources import Kind


def one(model: str, weight: int, *ports: int) -> VersionTraffic:
    ends = tuple(Endpoint(f"i{port}", "127.0.0.1", port) for port in ports)
    return VersionTraffic(model, model, "1", weight, ends)


def traffic(*versions: VersionTraffic) -> ServiceTraffic:
    return ServiceTraffic("s", "p", 1, True, versions)


def snapshot(value: ServiceTraffic) -> Snapshot:
    return service_snapshot(value, retry_resets=True)


def routes_of(value: Snapshot) -> list[route_components_pb2.Route]:
    [found] = [r for r in value if r.key.kind is Kind.ROUTES]
    config = route_pb2.RouteConfiguration.FromString(found.payload.value)
    return list(config.virtual_hosts[0].routes)


def versions_of(value: Snapshot) -> dict[tuple[Kind, str], str]:
    return {(r.key.kind, r.key.name): r.version for r in value}


def test_shares_go_to_versions_with_instances() -> None:
    assert shares(traffic(one("a", 70, 1), one("b", 30, 2))) == [("s/a", 70), ("s/b", 30)]
    assert shares(traffic(one("a", 70, 1), one("b", 30))) == [("s/a", 70)]
    assert shares(traffic(one("a", 70), one("b", 30))) == [("s/a", 70), ("s/b", 30)]
    assert shares(traffic(one("a", 100, 1), one("b", 0, 2))) == [("s/a", 100)]
    assert shares(traffic(one("a", 0, 1))) == []


def test_equal_traffic_has_equal_versions() -> None:
    first = traffic(one("a", 70, 1, 2), one("b", 30, 3))
    second = traffic(one("a", 70, 2, 1), one("b", 30, 3))
    assert versions_of(snapshot(first)) == versions_of(snapshot(second))


def test_weights_alone_change_the_routes_alone() -> None:
    before = versions_of(snapshot(traffic(one("a", 70, 1), one("b", 30, 2))))
    after = versions_of(snapshot(traffic(one("a", 60, 1), one("b", 40, 2))))
    assert {key for key in before if before[key] != after[key]} == {(Kind.ROUTES, "s")}


def test_an_instance_more_changes_its_endpoints_alone() -> None:
    before = versions_of(snapshot(traffic(one("a", 70, 1), one("b", 30, 2))))
    after = versions_of(snapshot(traffic(one("a", 70, 1, 9), one("b", 30, 2))))
    assert {key for key in before if before[key] != after[key]} == {(Kind.ENDPOINTS, "s/a")}


def test_websockets_are_in_the_routes_alone() -> None:
    plain = traffic(one("a", 100, 1), replace(one("b", 0, 2), shadow=10))
    before, after = snapshot(plain), snapshot(replace(plain, websocket_idle_s=600.0))
    changed = {key for key, v in versions_of(before).items() if versions_of(after)[key] != v}
    assert changed == {(Kind.ROUTES, "s")}
    assert [one.name for one in routes_of(before)][:1] == ["no-websockets"]
    forwarded = [one.route for one in routes_of(after) if one.HasField("route")]
    upgraded = [one for one in forwarded if one.upgrade_configs]
    assert (len(upgraded), len(forwarded)) == (2, 5)
    assert {one.idle_timeout.seconds for one in upgraded} == {600}
    # Nobody would read what a shadow says over a copied WebSocket.
    assert [bool(one.request_mirror_policies) for one in upgraded] == [False] * 2
    assert all(one.request_mirror_policies for one in forwarded if not one.upgrade_configs)


def test_only_services_with_containers_have_the_gateway_say_who_answered() -> None:
    plain = traffic(one("a", 50, 1), one("b", 50, 2))
    routes = next(r for r in snapshot(plain) if r.key.kind is Kind.ROUTES)
    assert b"x-modelyard-instance" not in routes.payload.value
    bare = traffic(one("a", 50, 1), replace(one("b", 50, 2), bare=True, tls=True))
    found = {r.key: r.payload.value for r in snapshot(bare)}
    told = {key.name: body for key, body in found.items() if key.kind is Kind.ROUTES}
    assert b"%UPSTREAM_METADATA(modelyard:instance)%" in told["s"]
    ends = {key.name: body for key, body in found.items() if key.kind is Kind.ENDPOINTS}
    assert b"version" in ends["s/b"]
    assert b"version" not in ends["s/a"]
    clusters = {key.name: body for key, body in found.items() if key.kind is Kind.CLUSTER}
    assert b"transport_sockets.tls" in clusters["s/b"]
    assert b"transport_sockets.tls" not in clusters["s/a"]


def test_a_changed_cluster_has_its_endpoints_sent_again() -> None:
    plain = traffic(one("a", 100, 1))
    before = versions_of(snapshot(plain))
    after = versions_of(snapshot(replace(plain, policy=LoadBalancerPolicy.LEAST_CONNECTIONS)))
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {(Kind.CLUSTER, "s/a"), (Kind.ENDPOINTS, "s/a")}


def test_a_stopped_service_has_routes_and_no_cluster() -> None:
    stopped = snapshot(replace(traffic(one("a", 100, 1)), serving=False))
    assert clusters_of(stopped) == frozenset()
    assert stopped.instances == frozenset()
    assert problems(stopped) == []


def test_snapshots_are_consistent() -> None:
    for versions in ((one("a", 100, 1),), (one("a", 50, 1), one("b", 50, 2)), ()):
        assert problems(snapshot(traffic(*versions))) == []
    assert problems(control_plane_snapshot(), {"control-plane"}) == []


def test_what_does_not_resolve_is_named() -> None:
    whole = snapshot(traffic(one("a", 50, 1), one("b", 50, 2)))
    without_b = replace(
        whole, targets=tuple(r for r in whole.targets if r.key.name != "s/b"), routing=whole.routing
    )
    assert problems(without_b) == ["routes s name the unknown cluster s/b"]
    without_ends = replace(
        whole, targets=tuple(r for r in whole.targets if r.key.kind is Kind.CLUSTER)
    )
    assert "cluster s/a has no endpoint list" in problems(without_ends)
    without_clusters = replace(
        whole, targets=tuple(r for r in whole.targets if r.key.kind is Kind.ENDPOINTS)
    )
    assert "endpoints s/a have no cluster" in problems(without_clusters)
    without_routes = replace(whole, routing=whole.routing[:1])
    assert "scope s names no known routes" in problems(without_routes)
    with pytest.raises(InternalFailure, match="s/b"):
        require_consistent(without_b)
    twice = replace(whole, targets=whole.targets + whole.targets[:1])
    assert any("twice" in found for found in problems(twice))
