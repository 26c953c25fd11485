"""Array helpers over ``mxnet``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def top_probability(data: Any, labels: Sequence[str], top: int = 5) -> list[dict[str, Any]]:
    """The ``top`` likeliest classes of the first row: ``[{"probability", "class"}]``."""
    row = data.asnumpy().reshape(data.shape[0], -1)[0]
    order = row.argsort()[::-1][:top]
    return [{"probability": float(row[index]), "class": labels[index]} for index in order]
