"""Clusters that no route names any more: kept until no request can still need them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from modelyard.gateway.cache import Cache
from modelyard.gateway.resources import Key, Kind

LINGER_S = 2.0
"""Seconds beyond the longest prediction for which a cluster without routes is kept."""


class Retirement:
    """Removes a service's unused clusters once the longest prediction must have ended.

    A request routed just before the change, or repeating after a failed connection, still needs
    its old cluster. Waiting out the service's timeout costs nothing and asks Envoy nothing.
    ``in_use(service_id)`` tells the clusters of the service's present snapshot.
    """

    def __init__(self, cache: Cache, in_use: Callable[[str], Iterable[str]]) -> None:
        self._cache = cache
        self._in_use = in_use
        self._defined: dict[str, set[str]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def define(self, service_id: str, clusters: Iterable[str]) -> None:
        """The service has these clusters (and perhaps more from before)."""
        self._defined.setdefault(service_id, set()).update(clusters)

    def schedule(self, service_id: str, timeout_s: float) -> None:
        """Sweep ``timeout_s`` seconds and a little from now, if there is anything to sweep."""
        if not self._unused(service_id):
            return
        self._cancel(service_id)
        loop = asyncio.get_running_loop()
        self._timers[service_id] = loop.call_later(timeout_s + LINGER_S, self._sweep, service_id)

    def stop(self) -> None:
        """Sweep no more; the next control plane starts without the unused ones anyway."""
        for service_id in list(self._timers):
            self._cancel(service_id)

    def _cancel(self, service_id: str) -> None:
        if timer := self._timers.pop(service_id, None):
            timer.cancel()

    def _unused(self, service_id: str) -> set[str]:
        return self._defined.get(service_id, set()) - set(self._in_use(service_id))

    def _sweep(self, service_id: str) -> None:
        self._timers.pop(service_id, None)
        unused = self._unused(service_id)
        self._cache.apply(
            remove=[Key(kind, name) for name in unused for kind in (Kind.CLUSTER, Kind.ENDPOINTS)]
        )
        self._defined[service_id] -= unused
        if not self._defined[service_id]:
            del self._defined[service_id]
