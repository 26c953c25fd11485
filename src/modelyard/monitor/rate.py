"""How many predictions a service had in the last minute."""

from __future__ import annotations

from collections import defaultdict, deque

WINDOW_MS = 60_000


class CallRate:
    """Remembers counted calls for a minute; times in ms."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, deque[tuple[int, int]]] = defaultdict(deque)

    def add(self, service_id: str, count: int, now: int) -> None:
        self._calls[service_id].append((now, count))

    def per_minute(self, service_id: str, now: int) -> int:
        """Calls of the last 60 seconds."""
        calls = self._calls.get(service_id, deque())
        while calls and calls[0][0] <= now - WINDOW_MS:
            calls.popleft()
        if not calls:
            self._calls.pop(service_id, None)
        return sum(count for _, count in calls)
