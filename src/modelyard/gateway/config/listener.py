"""The public listener and the token check (pure).

Order of the filters: token, body limit, routing, which judges the token's project. The token check
is an extension configuration of its own, so that new keys do not disturb a connection. WebSockets
go through the same filters but the body limit (``websockets.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from envoy.config.bootstrap.v3 import bootstrap_pb2  # noqa: F401  registers types for ParseDict
from envoy.config.core.v3 import extension_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2  # noqa: F401
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2  # noqa: F401
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,  # noqa: F401
)
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import (
    header_mutation_pb2,  # noqa: F401
)
from google.protobuf.json_format import ParseDict

from modelyard.gateway.config.resources import access_log, names
from modelyard.gateway.config.routing.local_replies import local_replies
from modelyard.gateway.config.routing.websockets import listener_upgrades
from modelyard.gateway.xds.resources import Resource, resource
from modelyard.iam.claims import ISSUER
from modelyard.settings import GatewaySettings, HomeLayout, PredictionSettings

_TYPES = "type.googleapis.com/envoy.extensions"
_SMALLEST_SKEW_S = 1  # 0 would mean the default, a whole minute
_CACHED_TOKENS = 4096
_HEADERS_KB = 128  # all headers of a request (inference.md §1.5)
_ADS = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "10s"}


def _scope_of_request() -> dict[str, object]:
    """Writes the scope header, ahead of routing and over whatever the client sent.

    It gets the path without the query, cleaned by then, when that is a service's address, and one
    that leads to the control plane otherwise; the third segment is the scope's key.
    """
    path = "request.url_path"
    service = f'{path}.startsWith("{names.INFERS}/") && {path} != "{names.INFERS}/"'
    control = f'"{names.INFERS}/{names.CONTROL_PLANE_SCOPE}"'
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": f"{_TYPES}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [
                {"remove": names.SCOPE_HEADER},
                {
                    "append": {
                        "header": {
                            "key": names.SCOPE_HEADER,
                            "value": f"%CEL({service} ? {path} : {control})%",
                        },
                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                    }
                },
            ],
        },
    }


def _scoped_routes() -> dict[str, object]:
    return {
        "name": "services",
        "scope_key_builder": {
            "fragments": [
                {
                    "header_value_extractor": {
                        "name": names.SCOPE_HEADER,
                        "element_separator": "/",
                        "index": 3,
                    }
                }
            ]
        },
        "rds_config_source": _ADS,
        "scoped_rds": {"scoped_rds_config_source": _ADS},
    }


def _filters(log: Path | None, predictions: PredictionSettings) -> list[dict[str, object]]:
    router: dict[str, object] = {
        "@type": f"{_TYPES}.filters.http.router.v3.Router",
        "suppress_envoy_headers": True,
    }
    if log is not None:
        router["upstream_log"] = [access_log.breaks(log)]
    return [
        {
            "name": names.AUTHENTICATION,
            "config_discovery": {
                "config_source": _ADS,
                "type_urls": [f"{_TYPES}.filters.http.jwt_authn.v3.JwtAuthentication"],
            },
        },
        {
            "name": names.BUFFER_FILTER,
            "typed_config": {
                "@type": f"{_TYPES}.filters.http.buffer.v3.Buffer",
                "max_request_bytes": predictions.prediction_body_limit,
            },
        },
        {"name": "envoy.filters.http.router", "typed_config": router},
    ]


def _connection_manager(log: Path | None, predictions: PredictionSettings) -> dict[str, object]:
    filters = _filters(log, predictions)
    return {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": names.LISTENER,
        "scoped_routes": _scoped_routes(),
        "early_header_mutation_extensions": [_scope_of_request()],
        "http_filters": filters,
        "upgrade_configs": listener_upgrades(filters),
        "access_log": [access_log.predictions(log)] if log is not None else [],
        "local_reply_config": local_replies(),
        "server_name": "modelyard",
        "server_header_transformation": "OVERWRITE",
        # A request from anywhere is one from outside: x-envoy-* headers steer nothing.
        "use_remote_address": True,
        "internal_address_config": {
            "unix_sockets": False,
            "cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}],
        },
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
        "max_request_headers_kb": _HEADERS_KB,
        "request_headers_timeout": "30s",
        "stream_idle_timeout": f"{max(300, predictions.prediction_timeout + 60):g}s",
        "common_http_protocol_options": {
            "idle_timeout": "600s",
            "max_headers_count": 200,
            "headers_with_underscores_action": "ALLOW",
        },
        "stream_error_on_invalid_http_message": False,
    }


def public_listener(
    settings: GatewaySettings, predictions: PredictionSettings, layout: HomeLayout
) -> Resource:
    """Describe the one public address."""
    log = layout.request_log if settings.request_log_mb else None
    listener = ParseDict(
        {
            "name": names.LISTENER,
            "address": {"socket_address": {"address": settings.host, "port_value": settings.port}},
            # A restarted Envoy may bind while the kernel still winds up the last one's socket.
            "enable_reuse_port": True,
            "per_connection_buffer_limit_bytes": 1024 * 1024,
            "filter_chains": [
                {
                    "filters": [
                        {
                            "name": "envoy.filters.network.http_connection_manager",
                            "typed_config": _connection_manager(log, predictions),
                        }
                    ]
                }
            ],
        },
        listener_pb2.Listener(),
    )
    return resource(names.LISTENER, listener)


def authentication(jwks: Mapping[str, object]) -> Resource:
    """The token check for every address under ``/v1/infers`` (iam.md §1); ``jwks``: public keys."""
    provider = {
        "issuer": ISSUER,
        "local_jwks": {"inline_string": json.dumps(jwks, sort_keys=True)},
        "from_headers": [{"name": names.TOKEN_HEADER}],
        "forward": False,
        "require_expiration": True,
        "clock_skew_seconds": _SMALLEST_SKEW_S,
        "payload_in_metadata": names.CLAIMS,
        "clear_route_cache": True,  # the routes look at the claims
        "jwt_cache_config": {"jwt_cache_size": _CACHED_TOKENS, "jwt_max_token_size": 8192},
    }
    check = {
        "@type": f"{_TYPES}.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"tokens": provider},
        "rules": [
            {
                "match": {"path_separated_prefix": names.INFERS},
                "requires": {"provider_name": "tokens"},
            }
        ],
    }
    config = ParseDict(
        {"name": names.AUTHENTICATION, "typed_config": check},
        extension_pb2.TypedExtensionConfig(),
    )
    return resource(names.AUTHENTICATION, config)
