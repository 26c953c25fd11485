"""What the gateway is told about one service: frozen, complete, without any Envoy in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LoadBalancerPolicy(StrEnum):
    """How requests spread over the instances of one version (services.md §2.1)."""

    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_CONNECTIONS = "LEAST_CONNECTIONS"
    SOURCE_IP = "SOURCE_IP"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One ready instance: where requests may go."""

    instance_id: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class VersionTraffic:
    """One model version of a service.

    ``weight`` is 0…100; the weights of the versions that carry traffic need not sum to 100 (a
    version without a ready instance leaves its share to the others, inference.md §1.4).
    ``endpoints`` are ready, never draining. ``variant`` keeps apart what is compared under one
    model id: instances made otherwise than the stable ones ("" for these). ``shadow``: percent of
    the service's predictions that are copied to this version, whose answers nobody sees.
    ``revision``: the number that its answers carry, when it is not the service's. ``bare``: its
    instances are containers without a front of ours, so that the gateway says on their answers
    which version and instance gave them; ``tls``: they are spoken to by HTTPS.
    """

    model_id: str
    model_name: str
    model_version: str
    weight: int
    endpoints: tuple[Endpoint, ...]
    variant: str = ""
    shadow: int = 0
    revision: int | None = None
    bare: bool = False
    tls: bool = False

    @property
    def gets_copies(self) -> bool:
        """Whether it is a shadow: without weight, and named one."""
        return self.shadow > 0 and self.weight == 0


@dataclass(frozen=True, slots=True)
class ServiceTraffic:
    """The whole traffic of one real-time service.

    ``serving`` False: the service exists but is not started; every prediction is answered
    400 ModelArts.4203. ``timeout_s`` and ``body_limit`` bound one prediction (inference.md §1.5).
    ``websocket_idle_s``: how long a WebSocket may be silent; None: the service takes none.
    """

    service_id: str
    project_id: str
    revision: int
    serving: bool
    versions: tuple[VersionTraffic, ...] = ()
    policy: LoadBalancerPolicy = LoadBalancerPolicy.ROUND_ROBIN
    timeout_s: float = 40.0
    body_limit: int = 12 * 1024 * 1024
    methods: tuple[str, ...] = ("POST",)
    websocket_idle_s: float | None = None
