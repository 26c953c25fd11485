"""The pause before another attempt: it doubles up to a ceiling, shortened by jitter. Pure."""

from __future__ import annotations

_MOST_DOUBLINGS = 32
_GOLDEN_RATIO = 0.6180339887498949


def delay(attempt: int, base: float, ceiling: float, jitter: float = 0.0) -> float:
    """The pause before retry number ``attempt``, in the unit of ``base`` and ``ceiling``.

    Retry 1 waits ``base``, each further one twice as long as the one before, none longer than
    ``ceiling``; retry 0 and below do not wait. ``jitter``: a random number of [0, 1], drawn by the
    caller; the pause becomes shorter by half of that share, so that many which failed together do
    not come back together.

    >>> [delay(n, 0.5, 3.0) for n in (0, 1, 2, 3, 4, 1000)]
    [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]
    >>> delay(2, 0.5, 3.0, jitter=1.0)
    0.5
    """
    if attempt < 1:
        return 0.0
    pause = min(ceiling, base * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))
    return float(pause * (1.0 - jitter / 2.0))


def jitter_at(moment_ms: int) -> float:
    """A number of [0, 1) that depends on ``moment_ms`` alone: jitter for decisions that are pure.

    Neighbouring moments give numbers far apart, so that what fails within milliseconds is spread.

    >>> [round(jitter_at(moment), 2) for moment in (1_000, 1_001, 1_002)]
    [0.03, 0.65, 0.27]
    """
    return moment_ms * _GOLDEN_RATIO % 1.0
