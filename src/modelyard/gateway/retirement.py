"""Clusters that no route names any more: kept until no request can still need them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from modelyard.gateway.xds.cache import Cache
from modelyard.gateway.xds.resources import Key, Kind

LINGER_S = 2.0
"""Seconds beyond the longest prediction for which a cluster without routes is kept."""


class Retirement:
    """Removes a service's unused clusters once the longest prediction must have ended.

    A request routed just before the change, or repeating after a failed connection, still needs
    its old cluster. Waiting out the service's timeout costs nothing and asks Envoy nothing.
    Each cluster has a deadline of its own, so that frequent updates do not put it off; one that is
    defined again has none any more. ``in_use(service_id)`` tells the clusters of the service's
    present snapshot.
    """

    def __init__(self, cache: Cache, in_use: Callable[[str], Iterable[str]]) -> None:
        self._cache = cache
        self._in_use = in_use
        self._defined: dict[str, set[str]] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def define(self, service_id: str, clusters: Iterable[str]) -> None:
        """The service has these clusters (and perhaps more from before)."""
        defined = self._defined.setdefault(service_id, set())
        for name in clusters:
            defined.add(name)
            if timer := self._timers.pop((service_id, name), None):
                timer.cancel()

    def schedule(self, service_id: str, timeout_s: float) -> None:
        """Remove what is unused ``timeout_s`` seconds and a little after it came to be unused."""
        loop = asyncio.get_running_loop()
        for name in self._unused(service_id):
            if (service_id, name) not in self._timers:
                self._timers[service_id, name] = loop.call_later(
                    timeout_s + LINGER_S, self._remove, service_id, name
                )

    def stop(self) -> None:
        """Remove no more; the next control plane starts without the unused ones anyway."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _unused(self, service_id: str) -> set[str]:
        return self._defined.get(service_id, set()) - set(self._in_use(service_id))

    def _remove(self, service_id: str, name: str) -> None:
        del self._timers[service_id, name]
        if name not in self._unused(service_id):
            return
        self._cache.apply(remove=[Key(kind, name) for kind in (Kind.CLUSTER, Kind.ENDPOINTS)])
        self._defined[service_id].discard(name)
        if not self._defined[service_id]:
            del self._defined[service_id]
