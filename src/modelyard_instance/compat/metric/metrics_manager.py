"""``from metric.metrics_manager import MetricsManager`` (models.md §4.1)."""

from modelyard_instance.inference.metrics import MetricsManager

__all__ = ["MetricsManager"]
