"""The names that the parts of the gateway must agree on."""

from __future__ import annotations

CONTROL_PLANE = "control-plane"
"""Cluster, scope and routes of everything that is not a prediction."""

CONTROL_PLANE_SCOPE = "?control-plane"
"""Key of that scope: no path has a question mark in a segment, so that no client can name it."""

XDS_CLUSTER = "xds"
LISTENER = "public"
CONTROL_PLANE_BODY_MIB = 4
"""The largest request body that anybody may send to the control plane."""

AUTHENTICATION = "authentication"
"""The extension configuration that carries the token keys, replaceable without a new listener."""

SCOPE_HEADER = "x-modelyard-scope"
"""Set by Envoy itself ahead of routing, over whatever a client sent; never forwarded."""

REVISION_HEADER = "x-modelyard-revision"
NOT_COMPUTED_HEADER = "x-modelyard-not-computed"
"""An instance answers with it, as ``1``, to a request that it never gave to the model."""

TOKEN_HEADER = "x-auth-token"  # noqa: S105
INFERS = "/v1/infers"

JWT_FILTER = "envoy.filters.http.jwt_authn"
BUFFER_FILTER = "envoy.filters.http.buffer"
CLAIMS = "claims"
"""Key of the token's content in the metadata of ``JWT_FILTER``."""


def cluster_name(service_id: str, model_id: str) -> str:
    """Name of the cluster of one model version of a service."""
    return f"{service_id}/{model_id}"
