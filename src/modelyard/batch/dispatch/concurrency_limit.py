"""How many requests one instance is given at a time. Pure: driven by numbers."""

from __future__ import annotations

from dataclasses import dataclass

_GAIN = 1.05
"""So much more throughput makes twice the requests worth while."""
_LEAST_ANSWERS = 8
_LEAST_S = 0.1
_REST = 40
"""Windows between two attempts to grow."""


@dataclass(slots=True)
class ConcurrencyLimit:
    """``limit`` requests at a time, ``most`` at most; ``timeout_s``: the longest prediction.

    It doubles while throughput grows with it, goes back one step when it does not, and tries again
    after a while. It halves when the instance refuses, and when answers come so late that a request
    might time out in its queue.
    """

    most: int
    timeout_s: float
    limit: int = 1
    _rate: float = 0.0
    _growing: bool = True
    _rest: int = 0
    _answers: int = 0
    _busy: int = 0
    _seconds: float = 0.0
    _since: float | None = None

    def answered(self, seconds: float, now: float, *, busy: bool) -> None:
        """An answer came at ``now``, ``seconds`` after its request; ``busy``: all places taken."""
        if self._since is None:
            self._since = now - seconds
        self._answers += 1
        self._busy += busy
        self._seconds += seconds
        passed = now - self._since
        if self._answers >= max(_LEAST_ANSWERS, 2 * self.limit) and passed >= _LEAST_S:
            self._judge(self._answers / passed, self._seconds / self._answers)
            self._clear(now)
        elif seconds > self.timeout_s / 4 and self.limit > 1:
            self.refused(now)

    def refused(self, now: float) -> None:
        """The instance has too much to do at ``now``."""
        self.limit = max(1, self.limit // 2)
        self._growing, self._rest = False, _REST
        self._clear(now)

    def _clear(self, now: float) -> None:
        self._answers = self._busy = 0
        self._seconds = 0.0
        self._since = now

    def _judge(self, rate: float, latency: float) -> None:
        # Where places were free, more of them would change nothing.
        if 2 * self._busy < self._answers:
            return
        if not self._growing:
            self._rest -= 1
            if self._rest > 0:
                return
            self._growing, self._rate = True, 0.0
        if rate > self._rate * _GAIN:
            self._rate = rate
            if self.limit < self.most and 2 * latency < self.timeout_s / 2:
                self.limit = min(self.most, 2 * self.limit)
                return
        elif self.limit > 1:
            self.limit = max(1, self.limit // 2)
        self._growing, self._rest = False, _REST
