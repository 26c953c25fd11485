"""A request log without Envoy: counts what the test adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard.domain.canary.request_counts import Tally, VersionKey, bucket


@dataclass
class FakeRequests:
    """Satisfies ``control.ports.Requests``. ``asked``: the spans asked for, in order.
    ``gone``: part of what was counted is lost."""

    on: bool = True
    lag_ms: int = 0
    gone: bool = False
    counted: dict[tuple[str, VersionKey], Tally] = field(default_factory=dict)
    asked: list[tuple[int, int]] = field(default_factory=list)

    async def tallies(
        self, service_id: str, from_ms: int, until_ms: int
    ) -> Mapping[VersionKey, Tally]:
        self.asked.append((from_ms, until_ms))
        return {key: tally for (owner, key), tally in self.counted.items() if owner == service_id}

    async def complete(self, service_id: str, from_ms: int) -> bool:
        return self.on and not self.gone

    def count(
        self,
        service_id: str,
        model_id: str,
        requests: int,
        errors: int = 0,
        took_ms: float = 10.0,
        variant: str = "",
    ) -> None:
        """``requests`` more predictions of a version, ``errors`` of them failed."""
        key = (service_id, VersionKey(model_id, variant))
        self.counted[key] = self.counted.get(key, Tally()) + tally(requests, errors, took_ms)

    def forget(self) -> None:
        """As if all of that had been before the span that is asked for next."""
        self.counted.clear()


def tally(requests: int, errors: int = 0, took_ms: float = 10.0) -> Tally:
    """Predictions that all took the same time."""
    latencies = list(Tally().latencies)
    latencies[bucket(took_ms)] = requests
    return Tally(requests, errors, longest_ms=round(took_ms), latencies=tuple(latencies))
