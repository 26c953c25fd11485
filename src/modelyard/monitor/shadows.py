"""What became of the copies that shadows got (services.md §2.3; ours)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShadowReading:
    """Copies that a model got since the gateway started.

    ``errors``: answered with a status of 500 or more, or not in time. ``dropped``: not sent,
    because too many were under way. ``p50_ms`` and ``p99_ms``: latency, up to a minute old; None
    until something was measured.
    """

    requests: int = 0
    errors: int = 0
    dropped: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None

    def __add__(self, other: ShadowReading) -> ShadowReading:
        """Both together; of latencies the larger."""
        return ShadowReading(
            self.requests + other.requests,
            self.errors + other.errors,
            self.dropped + other.dropped,
            _larger(self.p50_ms, other.p50_ms),
            _larger(self.p99_ms, other.p99_ms),
        )


def _larger(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)


class ShadowMeter:
    """The latest readings."""

    def __init__(self) -> None:
        self._readings: Mapping[tuple[str, str], ShadowReading] = {}

    def set(self, readings: Mapping[tuple[str, str], ShadowReading]) -> None:
        """``readings`` by service and model take the place of all before."""
        self._readings = readings

    def of(self, service_id: str, model_id: str) -> ShadowReading:
        """Zeroes before the first reading."""
        return self._readings.get((service_id, model_id), ShadowReading())
