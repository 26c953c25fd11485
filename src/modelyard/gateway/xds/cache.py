"""What Envoy should have, who has it, and who waits for it to have it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from modelyard.gateway.xds.resources import Key, Kind, Resource


class RefusedError(Exception):
    """Envoy rejected a resource; the text is Envoy's own."""


class Subscriber(Protocol):
    """One Envoy, connected."""

    def changed(self, keys: Iterable[Key]) -> None:
        """These resources are new, different or gone."""
        ...

    def has(self, key: Key) -> str | None:
        """The version of the resource that Envoy has acknowledged; None when it has none."""
        ...


class _Waiter:
    """Waits until Envoy has each key at its version (None: has it no more)."""

    def __init__(self, wanted: Mapping[Key, str | None]) -> None:
        self.wanted = dict(wanted)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def saw(self, key: Key, version: str | None) -> None:
        if key in self.wanted and self.wanted[key] == version:
            del self.wanted[key]
            if not self.wanted and not self.done.done():
                self.done.set_result(None)


class Cache:
    """The desired resources, by key. Every change costs in proportion to the change alone."""

    def __init__(self) -> None:
        self._resources: dict[Kind, dict[str, Resource]] = {kind: {} for kind in Kind}
        self._waiters: dict[Key, set[_Waiter]] = {}
        self._subscribers: list[Subscriber] = []

    def get(self, key: Key) -> Resource | None:
        return self._resources[key.kind].get(key.name)

    def names(self, kind: Kind) -> Iterable[str]:
        """Names of all resources of ``kind``."""
        return self._resources[kind].keys()

    def apply(self, put: Iterable[Resource] = (), remove: Iterable[Key] = ()) -> None:
        """Change what Envoy should have; equal content changes nothing."""
        changed = []
        for item in put:
            known = self.get(item.key)
            if known is None or known.version != item.version:
                self._resources[item.key.kind][item.key.name] = item
                changed.append(item.key)
        for key in remove:
            if self._resources[key.kind].pop(key.name, None) is not None:
                changed.append(key)
        if changed:
            for subscriber in self._subscribers:
                subscriber.changed(changed)

    def join(self, subscriber: Subscriber) -> None:
        """From now on ``subscriber`` hears of changes; the last to join is the one that counts."""
        self._subscribers.append(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        self._subscribers.remove(subscriber)

    @property
    def connected(self) -> bool:
        """Whether any Envoy listens."""
        return bool(self._subscribers)

    def in_force(self, wanted: Mapping[Key, str | None]) -> bool:
        """Whether Envoy has acknowledged all of ``wanted`` (key to version, None: gone)."""
        if not self._subscribers:
            return False
        current = self._subscribers[-1]
        return all(current.has(key) == version for key, version in wanted.items())

    async def acknowledged(self, wanted: Mapping[Key, str | None], timeout_s: float) -> None:
        """Return once Envoy has all of ``wanted``.

        Raises ``TimeoutError`` after ``timeout_s`` seconds, ``RefusedError`` when it rejects one.
        """
        if self.in_force(wanted):
            return
        waiter = _Waiter(wanted)
        for key in wanted:
            self._waiters.setdefault(key, set()).add(waiter)
        if self._subscribers:
            for key in wanted:
                waiter.saw(key, self._subscribers[-1].has(key))
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.done
        finally:
            for key in wanted:
                waiting = self._waiters[key]
                waiting.discard(waiter)
                if not waiting:
                    del self._waiters[key]

    def saw(self, subscriber: Subscriber, key: Key, version: str | None) -> None:
        """``subscriber`` acknowledged ``key`` at ``version`` (None: that it is gone)."""
        if self._subscribers and subscriber is self._subscribers[-1]:
            for waiter in list(self._waiters.get(key, ())):
                waiter.saw(key, version)

    def rejected(self, keys: Iterable[Key], message: str) -> None:
        """Envoy refused a response that carried ``keys``."""
        for key in keys:
            for waiter in list(self._waiters.get(key, ())):
                if not waiter.done.done():
                    waiter.done.set_exception(RefusedError(message))
