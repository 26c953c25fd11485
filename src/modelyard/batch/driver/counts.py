"""What is counted while a run goes on, and how fast it is."""

from __future__ import annotations

from collections import deque

from modelyard.batch.driver.journal import Totals
from modelyard.domain.batch.run import Progress

_WINDOW_S = 5.0


class Tally:
    """Counts of the whole run, those of earlier drivers included. ``message``: for people."""

    def __init__(self) -> None:
        self.phase = "listing"
        self.listed = False
        self.files = self.done = self.failed = 0
        self.rows = self.rows_failed = 0
        self.bytes = self.bytes_done = 0
        self.message = ""
        self.by_rows = True
        self._past: deque[tuple[float, int, int]] = deque()

    def start(self, totals: Totals) -> None:
        """Begin where the journal is."""
        self.listed, self.phase = True, "running"
        self.files, self.done, self.failed = totals.files, totals.done, totals.failed
        self.rows, self.rows_failed = totals.rows, totals.rows_failed
        self.bytes, self.bytes_done = totals.bytes, totals.bytes_done
        self._past.clear()

    def progress(self, now: float) -> Progress:
        """A snapshot at ``now``, in seconds of any clock that runs evenly."""
        worked = self.rows if self.by_rows else self.done
        part = self.bytes_done if self.by_rows else self.done
        self._past.append((now, worked, part))
        while self._past[0][0] < now - _WINDOW_S:
            self._past.popleft()
        then, worked_then, part_then = self._past[0]
        seconds = now - then
        rate = (worked - worked_then) / seconds if seconds > 0 else 0.0
        speed = (part - part_then) / seconds if seconds > 0 else 0.0
        left = (self.bytes if self.by_rows else self.files) - part
        known = self.phase == "running" and speed > 0 and left >= 0
        return Progress(
            phase=self.phase,
            listed=self.listed,
            files_total=self.files,
            files_done=self.done,
            files_failed=self.failed,
            rows_done=self.rows,
            rows_failed=self.rows_failed,
            bytes_total=self.bytes,
            bytes_done=self.bytes_done,
            rate=round(rate, 1),
            seconds_left=round(left / speed, 1) if known else None,
            message=self.message,
        )
