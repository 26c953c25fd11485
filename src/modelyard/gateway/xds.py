"""The delta ADS server: tells Envoy what changed, and hears what it made of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from modelyard.gateway.cache import Cache
from modelyard.gateway.resources import WILDCARD_KINDS, Key, Kind

log = structlog.get_logger(__name__)

_KINDS = {kind.value: kind for kind in Kind}
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@dataclass(slots=True)
class Sent:
    """How much the server has sent since it started."""

    responses: int = 0
    resources: int = 0
    removals: int = 0
    bytes: int = 0


class _Stream:
    """One Envoy's connection: what it asked for, was sent, and acknowledged."""

    def __init__(self, cache: Cache, sent: Sent) -> None:
        self._cache = cache
        self._sent = sent
        self._asked: dict[Kind, set[str]] = {}
        self._has: dict[Key, str] = {}
        self._due: dict[Kind, set[str]] = {kind: set() for kind in Kind}
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
            if fresh or known is None or known.version != self._has.get(key):
                self._due[kind].add(name)
        for name in request.resource_names_unsubscribe:
            self._asked[kind].discard(name)
            self._due[kind].discard(name)
            self._forget(Key(kind, name))
        self.wake.set()

    def _heard_first(self, kind: Kind, request: Any) -> None:
        """The first word on a kind: what Envoy has from an earlier connection."""
        self._asked[kind] = set()
        for name, version in request.initial_resource_versions.items():
            self._note(Key(kind, name), version)
        if kind in WILDCARD_KINDS:
            held = request.initial_resource_versions
            names = set(self._cache.names(kind)) | set(held)
            self._due[kind] |= {name for name in names if self._stale(Key(kind, name))}
            if not held:
                # Envoy starts serving only when it has had an answer, be it an empty one.
                self._answer_anyway.add(kind)

    def _heard_verdict(self, kind: Kind, request: Any) -> None:
        items = self._unacknowledged.pop(request.response_nonce, [])
        if request.HasField("error_detail"):
            message = request.error_detail.message
            names = [key.name for key, _ in items]
            log.error("Envoy refused a configuration", kind=kind, names=names[:8], message=message)
            self._cache.rejected([key for key, _ in items], message)
            return
        for key, version in items:
            self._note(key, version)

    def _note(self, key: Key, version: str | None) -> None:
        if version is None:
            self._has.pop(key, None)
        else:
            self._has[key] = version
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
            names, self._due[kind] = self._due[kind], set()
            if names or kind in self._answer_anyway:
                self._answer_anyway.discard(kind)
                yield self._response(kind, sorted(names))

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
        self._unacknowledged[response.nonce] = items
        self._sent.responses += 1
        self._sent.resources += len(response.resources)
        self._sent.removals += len(response.removed_resources)
        self._sent.bytes += response.ByteSize()
        return response


class XdsServer:
    """Serves a cache over a Unix socket. Start it when the cache is complete, not before:
    what is missing then, a reconnecting Envoy would be told to remove."""

    def __init__(self, cache: Cache, socket: Path) -> None:
        self._cache = cache
        self._socket = socket
        self._server: grpc.aio.Server | None = None
        self.sent = Sent()

    async def start(self) -> None:
        """Listen. Raises ``OSError`` when the socket cannot be made."""
        self._socket.unlink(missing_ok=True)
        server = grpc.aio.server(options=_UNLIMITED)
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self, server)
        try:
            server.add_insecure_port(f"unix:{self._socket}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._socket}: {error}") from error
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Hang up. Envoy keeps what it has and comes back when somebody listens again."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None
            self._socket.unlink(missing_ok=True)

    async def DeltaAggregatedResources(  # noqa: N802  the name of the RPC
        self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        """One Envoy's stream, from connect to hang-up."""
        stream = _Stream(self._cache, self.sent)
        self._cache.join(stream)
        reader = asyncio.create_task(_read(requests, stream), name="xds-reader")
        try:
            while not reader.done():
                await stream.wake.wait()
                stream.wake.clear()
                for response in stream.responses():
                    yield response
        finally:
            self._cache.leave(stream)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await reader

    async def StreamAggregatedResources(  # noqa: N802  the name of the RPC
        self, _requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """The state-of-the-world variant, which our bootstrap does not ask for."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "delta only")


async def _read(requests: AsyncIterator[Any], stream: _Stream) -> None:
    try:
        async for request in requests:
            stream.heard(request)
    finally:
        stream.wake.set()
