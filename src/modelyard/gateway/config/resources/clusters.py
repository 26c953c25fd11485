"""Clusters and endpoints of one model version (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2, outlier_detection_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, config_source_pb2, protocol_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.wrappers_pb2 import UInt32Value

from modelyard.domain.service.traffic import Endpoint, LoadBalancerPolicy
from modelyard.gateway.config.resources import names

CONNECT_TIMEOUT_S = 2
# Shorter than the instances keep an idle connection, so that they never close one under a request.
UPSTREAM_IDLE_S = 4
_UNLIMITED = 1_000_000
_SHADOWS = 64

_POLICIES = {
    LoadBalancerPolicy.ROUND_ROBIN: cluster_pb2.Cluster.ROUND_ROBIN,
    LoadBalancerPolicy.LEAST_CONNECTIONS: cluster_pb2.Cluster.LEAST_REQUEST,
    LoadBalancerPolicy.SOURCE_IP: cluster_pb2.Cluster.RING_HASH,
}


def packed(message: Message) -> AnyMessage:
    """``message`` as an ``Any``, the same bytes each time."""
    result = AnyMessage()
    result.Pack(message, deterministic=True)
    return result


def duration(seconds: float) -> Duration:
    """``seconds`` as protobuf has it."""
    result = Duration()
    result.FromNanoseconds(round(seconds * 1e9))
    return result


@cache
def ads() -> Message:
    """Where Envoy asks for a resource: the one stream it has."""
    source: Message = config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.ApiVersion.V3,
        initial_fetch_timeout=duration(10),
    )
    return source


@cache
def plain_http() -> AnyMessage:
    """HTTP/1.1 to the instances, connections kept."""
    options = http_protocol_options_pb2.HttpProtocolOptions(
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(
            idle_timeout=duration(UPSTREAM_IDLE_S)
        ),
        explicit_http_config=http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig(
            http_protocol_options=protocol_pb2.Http1ProtocolOptions()
        ),
    )
    return packed(options)


HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@cache
def at_most(limit: int = _UNLIMITED) -> Message:
    """Circuit breakers at ``limit`` of everything; by default they never open, where Envoy's own
    default allows three retries at a time.
    """
    thresholds = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=UInt32Value(value=limit),
        max_pending_requests=UInt32Value(value=limit),
        max_requests=UInt32Value(value=limit),
        max_retries=UInt32Value(value=limit),
    )
    breakers: Message = circuit_breaker_pb2.CircuitBreakers(thresholds=[thresholds])
    return breakers


@cache
def _outliers() -> Message:
    """Take an instance that cannot be reached, or answers 502 to 504 in a row, out for a moment.

    A model's own 500 says nothing about its instance and does not count.
    """
    detection: Message = outlier_detection_pb2.OutlierDetection(
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=UInt32Value(value=2),
        enforcing_consecutive_local_origin_failure=UInt32Value(value=100),
        consecutive_gateway_failure=UInt32Value(value=5),
        enforcing_consecutive_gateway_failure=UInt32Value(value=100),
        enforcing_consecutive_5xx=UInt32Value(value=0),
        enforcing_success_rate=UInt32Value(value=0),
        enforcing_local_origin_success_rate=UInt32Value(value=0),
        interval=duration(1),
        base_ejection_time=duration(1),
        max_ejection_time=duration(10),
        max_ejection_percent=UInt32Value(value=100),
    )
    return detection


@cache
def _unverified_tls() -> Message:
    """HTTPS without asking who answers: a container's own certificate names nobody known, and the
    way to it is this machine's loopback.
    """
    socket: Message = base_pb2.TransportSocket(
        name="envoy.transport_sockets.tls",
        typed_config=packed(tls_pb2.UpstreamTlsContext()),
    )
    return socket


def version_cluster(
    name: str, policy: LoadBalancerPolicy, *, shadow: bool = False, tls: bool = False
) -> Message:
    """The cluster of one model version; its endpoints come separately.

    Of a ``shadow`` only so many copies are under way at once: the others are dropped, lest one
    that hangs hold Envoy's memory and connections.
    """
    cluster: Message = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=ads()),
        connect_timeout=duration(CONNECT_TIMEOUT_S),
        lb_policy=_POLICIES[policy],
        circuit_breakers=at_most(_SHADOWS) if shadow else at_most(),
        outlier_detection=_outliers(),
        ignore_health_on_host_removal=True,
        common_lb_config=cluster_pb2.Cluster.CommonLbConfig(
            # With every instance ejected it is better to try them all than to refuse.
            healthy_panic_threshold=percent_pb2.Percent(value=1),
            update_merge_window=duration(0),
        ),
        typed_extension_protocol_options={HTTP_OPTIONS: plain_http()},
        transport_socket=_unverified_tls() if tls else None,
    )
    return cluster


def pipe_cluster(name: str, path: str, options: AnyMessage) -> Message:
    """A cluster with one endpoint: the Unix socket at ``path``."""
    member = endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(
            address=address_pb2.Address(pipe=address_pb2.Pipe(path=path))
        )
    )
    cluster: Message = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=duration(CONNECT_TIMEOUT_S),
        circuit_breakers=at_most(),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(
            cluster_name=name,
            endpoints=[endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[member])],
        ),
        typed_extension_protocol_options={HTTP_OPTIONS: options},
    )
    return cluster


def _identity(instance_id: str, version: str) -> Message:
    """Metadata by which the request log names the instance, and the answers of bare ones what gave
    them; it costs no header.
    """
    said = {names.INSTANCE: instance_id} | ({names.VERSION: version} if version else {})
    fields = Struct(fields={key: Value(string_value=value) for key, value in said.items()})
    metadata: Message = base_pb2.Metadata(filter_metadata={names.ENDPOINT_METADATA: fields})
    return metadata


def assignment(name: str, endpoints: Sequence[Endpoint], version: str = "") -> Message:
    """The instances of the cluster ``name``, in an order that depends on nothing but them.

    ``version``: what the gateway is to call them on their answers; empty where they say it.
    """
    members = [
        endpoint_components_pb2.LbEndpoint(
            endpoint=endpoint_components_pb2.Endpoint(
                address=address_pb2.Address(
                    socket_address=address_pb2.SocketAddress(
                        address=endpoint.host, port_value=endpoint.port
                    )
                )
            ),
            load_balancing_weight=UInt32Value(value=1),
            metadata=_identity(endpoint.instance_id, version),
        )
        for endpoint in sorted(set(endpoints), key=lambda found: (found.host, found.port))
    ]
    result: Message = endpoint_pb2.ClusterLoadAssignment(
        cluster_name=name,
        endpoints=[
            endpoint_components_pb2.LocalityLbEndpoints(
                lb_endpoints=members, load_balancing_weight=UInt32Value(value=1)
            )
        ]
        if members
        else [],
    )
    return result
