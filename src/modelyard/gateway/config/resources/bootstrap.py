"""The little that Envoy is told before it can ask: where to ask, and where it is administered."""

from __future__ import annotations

from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.core.v3 import protocol_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as http
from google.protobuf.json_format import MessageToDict, ParseDict

from modelyard.gateway.config.resources import names
from modelyard.gateway.config.resources.clusters import packed, pipe_cluster, plain_http
from modelyard.settings import HomeLayout

_GRPC = {
    "api_type": "DELTA_GRPC",
    "transport_api_version": "V3",
    "set_node_on_first_message_only": True,
    "grpc_services": [
        {
            "envoy_grpc": {
                "cluster_name": names.XDS_CLUSTER,
                # Back quickly when the control plane is back.
                "retry_policy": {
                    "retry_back_off": {"base_interval": "0.05s", "max_interval": "0.5s"}
                },
            }
        }
    ],
}
_ADS = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "10s"}

# Of the hundred counters of a cluster only what somebody reads: the rest costs memory, and time
# whenever Envoy is asked for any.
_KEPT_STATS = [
    *({"prefix": f"{part}."} for part in ("http", "server", "listener", "listener_manager")),
    *({"prefix": f"{part}."} for part in ("control_plane", "cluster_manager")),
    *(
        {"suffix": f".{name}"}
        for name in (
            "upstream_rq_total",
            "upstream_rq_active",
            "upstream_rq_2xx",
            "upstream_rq_4xx",
            "upstream_rq_5xx",
            "upstream_rq_timeout",
            "upstream_rq_retry",
            "upstream_rq_pending_overflow",
            "upstream_rq_time",
            "membership_total",
            "membership_healthy",
            "ejections_active",
        )
    ),
]


def bootstrap(layout: HomeLayout) -> dict[str, Any]:
    """Envoy's start-up configuration, as JSON."""
    http2 = http.HttpProtocolOptions(
        explicit_http_config=http.HttpProtocolOptions.ExplicitHttpConfig(
            http2_protocol_options=protocol_pb2.Http2ProtocolOptions()
        )
    )
    xds = pipe_cluster(names.XDS_CLUSTER, str(layout.xds_socket), packed(http2))
    api = pipe_cluster(names.CONTROL_PLANE, str(layout.api_socket), plain_http())
    config: dict[str, Any] = {
        "node": {"id": "gateway", "cluster": "modelyard"},
        "admin": {
            "address": {"pipe": {"path": str(layout.gateway_admin_socket), "mode": 0o600}},
        },
        "dynamic_resources": {"ads_config": _GRPC, "cds_config": _ADS, "lds_config": _ADS},
        "static_resources": {
            "clusters": [
                MessageToDict(cluster, preserving_proto_field_name=True) for cluster in (xds, api)
            ]
        },
        "stats_flush_interval": "60s",
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": _KEPT_STATS}}},
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
    }
    ParseDict(config, bootstrap_pb2.Bootstrap())  # a misspelt field fails here, not in Envoy
    return config
