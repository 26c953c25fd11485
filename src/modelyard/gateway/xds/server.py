"""The delta ADS server: one socket, a stream for each Envoy that connects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc

from modelyard.gateway.xds.cache import Cache
from modelyard.gateway.xds.stream import Sent, Stream

_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class XdsServer:
    """Serves a cache over a Unix socket. Start it when the cache is complete, not before:
    what is missing then, a reconnecting Envoy would be told to remove.

    ``linger_s``: how long a cluster that is gone after a reconnect is left to requests under way.
    """

    def __init__(self, cache: Cache, socket: Path, linger_s: float) -> None:
        self._cache = cache
        self._linger_s = linger_s
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
        stream = Stream(self._cache, self.sent, self._linger_s)
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
            stream.close()
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await reader

    async def StreamAggregatedResources(  # noqa: N802  the name of the RPC
        self, _requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """The state-of-the-world variant, which our bootstrap does not ask for."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "delta only")


async def _read(requests: AsyncIterator[Any], stream: Stream) -> None:
    try:
        async for request in requests:
            stream.heard(request)
    finally:
        stream.wake.set()
