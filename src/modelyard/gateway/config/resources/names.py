"""The names that the parts of the gateway must agree on."""

from __future__ import annotations

import re
from dataclasses import dataclass

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

SHADOW_HEADER = "x-modelyard-shadow"
"""A copy for a shadow carries it, as ``1``: a model with side effects may want to know."""

TOKEN_HEADER = "x-auth-token"  # noqa: S105
INFERS = "/v1/infers"

JWT_FILTER = "envoy.filters.http.jwt_authn"
BUFFER_FILTER = "envoy.filters.http.buffer"
CLAIMS = "claims"
"""Key of the token's content in the metadata of ``JWT_FILTER``."""

PREDICT = "predict"
"""Name of the routes that lead a prediction to an instance."""

UNSERVED = "unserved/"
"""Beginning of the name of a serving service's route that has no version to lead to; the
service's id follows."""

ENDPOINT_METADATA = "modelyard"
INSTANCE = "instance"
VERSION = "version"
"""Under these the metadata of an endpoint names its instance and, where the gateway is to tell it,
its model version."""

VERSION_HEADER = "x-modelyard-model-version"
INSTANCE_HEADER = "x-modelyard-instance"
"""On answers: who gave them. Instances say so themselves, but for containers."""

SHADOW = "shadow"
"""The variant that gets copies of predictions only."""

_VARIANT = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ClusterName:
    """What the name of a version's cluster says."""

    service_id: str
    model_id: str
    variant: str = ""

    @property
    def shadow(self) -> bool:
        """Whether only copies of predictions go there."""
        return self.variant == SHADOW or self.variant.startswith(f"{SHADOW}-")


def cluster_name(service_id: str, model_id: str, variant: str = "", *, shadow: bool = False) -> str:
    """Name of the cluster of one model version of a service.

    A ``shadow`` has a cluster of its own, so that what it does never counts as a prediction.
    Raises ``ValueError`` for a variant that is not of letters, digits, ``_`` and ``-``.
    """
    if variant and not _VARIANT.fullmatch(variant):
        raise ValueError(f"bad variant: {variant!r}")
    if shadow and not ClusterName("", "", variant).shadow:
        variant = f"{SHADOW}-{variant}" if variant else SHADOW
    plain = f"{service_id}/{model_id}"
    return f"{plain}@{variant}" if variant else plain


def parse_cluster(name: str) -> ClusterName | None:
    """The inverse of ``cluster_name``; None for clusters that are no version's."""
    service_id, slash, rest = name.partition("/")
    model_id, _, variant = rest.partition("@")
    return ClusterName(service_id, model_id, variant) if slash else None
