"""A gateway without Envoy: remembers what was published, and may be away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from modelyard.domain.service.traffic import ServiceTraffic
from modelyard.errors import GatewayTimeout
from modelyard.steps import Step, reached


@dataclass
class FakeGateway:
    """Satisfies ``control.ports.Gateway``. ``history``: every change, in order."""

    away: bool = False
    traffic: dict[str, ServiceTraffic] = field(default_factory=dict)
    history: list[ServiceTraffic] = field(default_factory=list)
    jwks: dict[str, object] = field(default_factory=dict)

    async def publish(self, traffic: ServiceTraffic) -> str:
        if self.away:
            raise GatewayTimeout("The gateway is away.")
        if self.traffic.get(traffic.service_id) != traffic:
            self.traffic[traffic.service_id] = traffic
            self.history.append(traffic)
            reached(Step.GATEWAY_PUBLISH)
        return blake2b(repr(traffic).encode(), digest_size=12).hexdigest()

    async def set_jwks(self, jwks: Mapping[str, object]) -> None:
        self.jwks = dict(jwks)

    async def withdraw(self, service_id: str) -> None:
        if self.away:
            raise GatewayTimeout("The gateway is away.")
        if self.traffic.pop(service_id, None) is not None:
            reached(Step.GATEWAY_WITHDRAW)

    def endpoints(self, service_id: str) -> set[str]:
        """Ids of the instances that get traffic."""
        traffic = self.traffic.get(service_id)
        versions = traffic.versions if traffic else ()
        return {endpoint.instance_id for version in versions for endpoint in version.endpoints}

    def weights(self, service_id: str) -> dict[str, int]:
        return {v.model_id: v.weight for v in self.traffic[service_id].versions}
