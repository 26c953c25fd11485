"""Latency gauges under the names that packages look for (models.md §4.1)."""

from __future__ import annotations


class Latency:
    """Milliseconds of one step: the latest, how many, and their sum."""

    __slots__ = ("count", "last", "total")

    def __init__(self) -> None:
        self.last = 0.0
        self.count = 0
        self.total = 0.0

    def update(self, value: float) -> None:
        """Note one duration in milliseconds."""
        self.last = float(value)
        self.count += 1
        self.total += self.last


class MetricsManager:
    """``metrics``: ``<model_name>_LatencyPreprocess`` and the like → gauge."""

    metrics: dict[str, Latency] = {}  # noqa: RUF012  # shared by contract

    @classmethod
    def note(cls, model_name: str, prepare_s: float, infer_s: float, all_s: float) -> None:
        """Note one prediction's durations in seconds, where their gauges are."""
        for step, seconds in (
            ("_LatencyPreprocess", prepare_s),
            ("_LatencyInference", infer_s),
            ("_LatencyOverall", all_s),
        ):
            gauge = cls.metrics.get(f"{model_name}{step}")
            if gauge is not None:
                gauge.update(seconds * 1000)

    @classmethod
    def expect(cls, model_name: str) -> None:
        """Make the gauges of ``model_name``."""
        for step in ("Preprocess", "Inference", "Overall"):
            cls.metrics.setdefault(f"{model_name}_Latency{step}", Latency())
