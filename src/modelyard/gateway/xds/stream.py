"""One Envoy's connection: what it asked for, was sent, and made of it (delta xDS)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from envoy.service.discovery.v3 import discovery_pb2

from modelyard.gateway.xds.cache import Cache
from modelyard.gateway.xds.resources import WILDCARD_KINDS, Key, Kind

log = structlog.get_logger(__name__)

_KINDS = {kind.value: kind for kind in Kind}
_ROUTING = frozenset({Kind.SCOPE, Kind.ROUTES})
# What has not warmed up by then is held back no longer: other services want their changes.
_LONGEST_WARM_UP_S = 5.0


@dataclass(slots=True)
class Sent:
    """How much the server has sent since it started."""

    responses: int = 0
    resources: int = 0
    removals: int = 0
    bytes: int = 0


class Stream:
    """The server's side of the protocol, without the network.

    An Envoy that comes back with another control plane's configuration is led to ours without a
    gap: clusters that are new to it warm up before routes may name them, and those it should no
    longer have stay for ``linger_s`` seconds, since it still routes to them until then. (Within a
    connection the publisher keeps that order, and at its first start Envoy itself.)
    """

    def __init__(self, cache: Cache, sent: Sent, linger_s: float) -> None:
        self._cache = cache
        self._sent = sent
        self._linger_s = linger_s
        self._warming: set[str] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._asked: dict[Kind, set[str]] = {}
        self._has: dict[Key, str] = {}
        self._due: dict[Kind, set[str]] = {kind: set() for kind in Kind}
        self._alone: dict[Kind, set[str]] = {kind: set() for kind in Kind}
        self._answer_anyway: set[Kind] = set()
        self._unacknowledged: dict[str, list[tuple[Key, str | None]]] = {}
        self._nonce = 0
        self.wake = asyncio.Event()

    # What the cache tells us

    def changed(self, keys: Iterable[Key]) -> None:
        for key in keys:
            if self._wants(key):
                self._due[key.kind].add(key.name)
        self.wake.set()

    def has(self, key: Key) -> str | None:
        return self._has.get(key)

    def _wants(self, key: Key) -> bool:
        asked = self._asked.get(key.kind)
        return asked is not None and (key.kind in WILDCARD_KINDS or key.name in asked)

    # What Envoy tells us

    def heard(self, request: Any) -> None:
        """Take in one ``DeltaDiscoveryRequest``."""
        kind = _KINDS.get(request.type_url)
        if kind is None:
            return
        if request.response_nonce:
            self._heard_verdict(kind, request)
        if kind not in self._asked:
            self._heard_first(kind, request)
        for name in request.resource_names_subscribe:
            if name == "*":
                continue
            key = Key(kind, name)
            known = self._cache.get(key)
            fresh = name not in request.initial_resource_versions
            self._asked[kind].add(name)
            if fresh or (known is not None and known.version != self._has.get(key)):
                self._due[kind].add(name)
        for name in request.resource_names_unsubscribe:
            self._asked[kind].discard(name)
            self._due[kind].discard(name)
            self._alone[kind].discard(name)
            self._forget(Key(kind, name))
        self.wake.set()

    def _heard_first(self, kind: Kind, request: Any) -> None:
        """The first word on a kind: what Envoy has from an earlier connection."""
        self._asked[kind] = set()
        for name, version in request.initial_resource_versions.items():
            self._note(Key(kind, name), version)
        if kind in WILDCARD_KINDS:
            held = request.initial_resource_versions
            names = set(self._cache.names(kind))
            self._due[kind] |= {name for name in names if self._stale(Key(kind, name))}
            gone = {name for name in held if name not in names}
            if kind is Kind.CLUSTER and held:
                self._came_back(self._due[kind], gone)
            else:
                self._due[kind] |= gone
            if not held:
                # Envoy starts serving only when it has had an answer, be it an empty one.
                self._answer_anyway.add(kind)

    def _came_back(self, new: Iterable[str], gone: Iterable[str]) -> None:
        """The gentle way from what Envoy has to what it should have (see the class)."""
        loop = asyncio.get_running_loop()
        self._warming = set(new)
        if self._warming:
            self._timers.append(loop.call_later(_LONGEST_WARM_UP_S, self._warmed_up))
        farewell = [Key(Kind.CLUSTER, name) for name in gone]
        if farewell:
            self._timers.append(loop.call_later(self._linger_s, self.changed, farewell))

    def _warmed_up(self) -> None:
        self._warming.clear()
        self.wake.set()

    def close(self) -> None:
        """The connection has ended."""
        for timer in self._timers:
            timer.cancel()

    def _heard_verdict(self, kind: Kind, request: Any) -> None:
        items = self._unacknowledged.pop(request.response_nonce, [])
        if request.HasField("error_detail"):
            self._heard_refusal(kind, [key for key, _ in items], request.error_detail.message)
            return
        for key, version in items:
            self._note(key, version)

    def _heard_refusal(self, kind: Kind, keys: list[Key], message: str) -> None:
        """One bad resource spoils its whole response: send each alone to find out which."""
        if len(keys) > 1:
            self._alone[kind] |= {key.name for key in keys}
            return
        names = [key.name for key in keys]
        log.error("Envoy refused a configuration", kind=kind, names=names, message=message)
        self._cache.rejected(keys, message)

    def _note(self, key: Key, version: str | None) -> None:
        if version is None:
            self._has.pop(key, None)
        else:
            self._has[key] = version
            if key.kind is Kind.ENDPOINTS:
                self._warming.discard(key.name)
        self._cache.saw(self, key, version)

    def _forget(self, key: Key) -> None:
        if self._has.pop(key, None) is not None:
            self._cache.saw(self, key, None)

    def _stale(self, key: Key) -> bool:
        known = self._cache.get(key)
        return self._has.get(key) != (known.version if known else None)

    # What we tell Envoy

    def responses(self) -> Iterator[Any]:
        """What is due now, one ``DeltaDiscoveryResponse`` a kind, in the kinds' order."""
        for kind in Kind:
            if kind in _ROUTING and self._warming:
                continue
            names, self._due[kind] = self._due[kind], set()
            if names or kind in self._answer_anyway:
                self._answer_anyway.discard(kind)
                yield self._response(kind, sorted(names))
            alone, self._alone[kind] = self._alone[kind], set()
            for name in sorted(alone - names):
                yield self._response(kind, [name])

    def _response(self, kind: Kind, names: list[str]) -> Any:
        self._nonce += 1
        response = discovery_pb2.DeltaDiscoveryResponse(
            type_url=kind.value, nonce=str(self._nonce), system_version_info=str(self._nonce)
        )
        items: list[tuple[Key, str | None]] = []
        for name in names:
            found = self._cache.get(Key(kind, name))
            if found is None:
                response.removed_resources.append(name)
                items.append((Key(kind, name), None))
            else:
                response.resources.add(name=name, version=found.version, resource=found.payload)
                items.append((found.key, found.version))
        for key, _ in items:
            # What Envoy said of it before holds no longer, and nobody may count on it.
            self._has.pop(key, None)
        self._unacknowledged[response.nonce] = items
        self._sent.responses += 1
        self._sent.resources += len(response.resources)
        self._sent.removals += len(response.removed_resources)
        self._sent.bytes += response.ByteSize()
        return response
