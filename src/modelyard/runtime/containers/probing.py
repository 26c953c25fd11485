"""When a container counts as started, ready and failed (models.md §3.5); pure.

Three checks, each optional. ``startup`` gates the others; ``readiness`` says whether it gets
traffic; ``liveness`` (``health``) whether it is replaced. A failure counts only after the initial
delay, a success at any time: nothing waits for a delay that the image does not need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_EAGER_PERIOD_S = 0.1
_EAGER_EXEC_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """How to ask a container, and how often. Times in seconds.

    ``url`` is asked by HTTP; ``command`` is run inside when it is not empty. ``any_answer``: every
    HTTP answer will do, also an error.
    """

    name: str
    url: str = "/"
    command: str = ""
    period_s: float = 5.0
    delay_s: float = 12.0
    timeout_s: float = 1.0
    threshold: int = 12
    any_answer: bool = False

    @property
    def told(self) -> str:
        """The check in words."""
        return f"command {self.command[:80]!r}" if self.command else f"GET {self.url}"

    def pause_s(self, age_s: float) -> float:
        """How long to wait before asking again a container that is ``age_s`` old and not well."""
        eager = _EAGER_EXEC_PERIOD_S if self.command else _EAGER_PERIOD_S
        return min(self.period_s, eager) if age_s < self.delay_s else self.period_s


# Without a probe of its own, an image is ready when it answers HTTP at all; it has as long for it
# as the service's deploy timeout says, and it is well as long as it runs.
_ANSWERS = Check("readiness", period_s=0.1, delay_s=0.0, timeout_s=5.0, any_answer=True)


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks of one container; ``gates`` must pass one after the other before it is ready."""

    gates: tuple[Check, ...]
    readiness: Check | None = None
    liveness: Check | None = None


def checks_of(probes: Mapping[str, Any]) -> Checks:
    """From the probes of a model (``health``, ``readiness_health``, ``startup_health``)."""
    startup = _check("startup", probes.get("startup_health"))
    readiness = _check("readiness", probes.get("readiness_health"))
    liveness = _check("health", probes.get("health"))
    first = readiness or (None if startup else liveness)
    gates = tuple(check for check in (startup, first) if check is not None)
    return Checks(gates or (_ANSWERS,), readiness, liveness)


def _check(name: str, probe: Mapping[str, Any] | None) -> Check | None:
    if not probe:
        return None
    return Check(
        name=name,
        url=str(probe["url"]),
        command=str(probe["command"]) if probe["check_method"] == "EXEC" else "",
        period_s=float(probe["period_seconds"]),
        delay_s=float(probe["initial_delay_seconds"]),
        timeout_s=float(probe["timeout_seconds"]),
        threshold=int(probe["failure_threshold"]),
    )


class Streak:
    """Failures in a row of one check."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._failures = 0

    def take(self, fault: str | None, age_s: float) -> bool:
        """Count one answer (``fault`` None: it was good) of a container ``age_s`` old.

        True when that was one failure too many.
        """
        if fault is None:
            self._failures = 0
        elif age_s >= self._check.delay_s and not self._check.any_answer:
            self._failures += 1
        return self._failures >= self._check.threshold

    def told(self, fault: str) -> str:
        """Why it is given up."""
        check, times = self._check, self._failures
        return f"{check.name} check failed {times} times in a row: {check.told}: {fault}"
