"""How a revision is to be reached: the ``rollout`` member of ``additional_properties`` (ours).

Without it traffic follows ready instances, and the former revision ends with the rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Guard:
    """Move traffic in steps, and go back when the new version does worse than the stable one.

    ``steps``: shares of the traffic in percent, rising, each below 100. Each is held for at least
    ``hold_s`` seconds and until both sides have answered ``min_samples`` predictions.
    ``max_error_increase``: how much the error rate may exceed the stable one's (0.01: one point).
    ``max_latency_ratio``: how many times slower the new version may be. ``check``: name of the
    operator's script that has the last word, or empty.
    """

    steps: tuple[int, ...] = (5, 25, 50)
    hold_s: int = 60
    min_samples: int = 100
    max_error_increase: float = 0.01
    max_latency_ratio: float = 1.5
    check: str = ""

    def to_json(self) -> JsonObject:
        return {
            "steps": list(self.steps),
            "hold_seconds": self.hold_s,
            "min_samples": self.min_samples,
            "max_error_increase": self.max_error_increase,
            "max_latency_ratio": self.max_latency_ratio,
            "check": self.check,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        return cls(
            steps=tuple(body["steps"]),
            hold_s=body["hold_seconds"],
            min_samples=body["min_samples"],
            max_error_increase=body["max_error_increase"],
            max_latency_ratio=body["max_latency_ratio"],
            check=body["check"],
        )


@dataclass(frozen=True, slots=True)
class Rollout:
    """``guard`` None: no steps. ``keep_former_s``: seconds that the former revision stays loaded
    after the new one has taken over, so that going back is a matter of weights only.
    """

    guard: Guard | None = None
    keep_former_s: int = 0

    def to_json(self) -> JsonObject:
        """As stored with a revision."""
        body: JsonObject = {"keep_former_seconds": self.keep_former_s}
        if self.guard:
            body["guard"] = self.guard.to_json()
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any] | None) -> Self:
        """The inverse of ``to_json``; None gives the plain rollout."""
        if body is None:
            return cls()
        guard = body.get("guard")
        return cls(Guard.from_json(guard) if guard else None, body["keep_former_seconds"])
