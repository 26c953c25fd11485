"""The gateway as the control loops see it: traffic in, acknowledged by Envoy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from weakref import WeakValueDictionary

from modelyard.domain.service.traffic import ServiceTraffic
from modelyard.errors import GatewayTimeout, InternalFailure
from modelyard.gateway.config.consistency import require_consistent
from modelyard.gateway.config.listener import authentication, public_listener
from modelyard.gateway.config.routing.snapshot import (
    Snapshot,
    clusters_of,
    control_plane_snapshot,
    service_snapshot,
)
from modelyard.gateway.envoy import EnvoyProcess
from modelyard.gateway.request_log.reader import RequestLog
from modelyard.gateway.retirement import LINGER_S, Retirement
from modelyard.gateway.stats import Admin
from modelyard.gateway.xds import Cache, Key, Kind, RefusedError, Resource, Sent, XdsServer
from modelyard.settings import GatewaySettings, HomeLayout, PredictionSettings
from modelyard.steps import Step, reached

_ACK_S = 10.0
_READY_S = 60.0  # with thousands of services the first configuration takes seconds
_DRAIN_S = 5.0
# Envoy's acknowledgement does not mean that a request routed a moment before has reached its
# instance. Whoever takes instances away may stop them when ``publish`` returns, so it gives such
# requests this long to arrive; there is nothing that would tell when they have.
_SETTLE_S = 0.1


def _wanted(items: Iterable[Resource]) -> dict[Key, str | None]:
    return {item.key: item.version for item in items}


class EnvoyGateway:
    """``control.ports.Gateway`` over a real Envoy.

    Life: ``load`` everything, ``start``, any number of ``publish`` and ``withdraw``, then ``stop``
    (Envoy goes on without us) or ``shutdown`` (Envoy ends, too).
    """

    def __init__(
        self,
        settings: GatewaySettings,
        predictions: PredictionSettings,
        layout: HomeLayout,
        jwks: Mapping[str, object],
    ) -> None:
        self._predictions = predictions
        self._cache = Cache()
        self._xds = XdsServer(
            self._cache, layout.xds_socket, predictions.prediction_timeout + LINGER_S
        )
        self._envoy = EnvoyProcess(settings, layout)
        self.requests = RequestLog(layout.request_log, settings.request_log_mb, self._envoy.admin)
        self._snapshots: dict[str, Snapshot] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._retirement = Retirement(self._cache, self._clusters)
        self._cache.apply(
            [
                *control_plane_snapshot(),
                authentication(jwks),
                public_listener(settings, predictions, layout),
            ]
        )

    @property
    def pid(self) -> int | None:
        """Envoy's process id, or None while there is none."""
        return self._envoy.pid

    @property
    def restarts(self) -> int:
        """How often Envoy has been started again since ``start``."""
        return self._envoy.restarts

    @property
    def stats(self) -> Admin:
        """Envoy's counters."""
        return self._envoy.admin

    @property
    def sent(self) -> Sent:
        """How much configuration has gone to Envoy since ``start``."""
        return self._xds.sent

    @property
    def connected(self) -> bool:
        """Whether Envoy listens to us."""
        return self._cache.connected

    def load(self, traffics: Iterable[ServiceTraffic]) -> None:
        """Fill in what is to be in force, before ``start``: Envoy takes what is missing as gone.

        Raises ``InternalFailure`` for traffic that contradicts itself.
        """
        for traffic in traffics:
            snapshot = self._snapshot(traffic)
            self._snapshots[traffic.service_id] = snapshot
            self._retirement.define(snapshot.name, clusters_of(snapshot))
            self._cache.apply(snapshot)

    async def start(self) -> None:
        """Listen for Envoy, adopt or start it, and return when it serves the public address.

        Raises ``Unavailable`` when the port is taken, Envoy cannot be started or does not come up.
        """
        await self._xds.start()
        adopted = False
        try:
            adopted = await self._envoy.start()
            await self._envoy.wait_ready(_READY_S)
        except BaseException:
            if not adopted:
                await self._envoy.end(0)
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop telling Envoy anything; it goes on with what it has."""
        self._retirement.stop()
        await self._envoy.release()
        await self._xds.stop()

    async def shutdown(self, drain_s: float = _DRAIN_S) -> None:
        """End Envoy, after up to ``drain_s`` seconds for the requests under way; then ``stop``."""
        await self._envoy.end(drain_s)
        await self.stop()

    async def set_jwks(self, jwks: Mapping[str, object]) -> None:
        """Verify tokens by these keys (a JWK set) from now on.

        Returns after Envoy's acknowledgement. Raises ``GatewayTimeout`` and ``InternalFailure``
        like ``publish``; the keys before stay then.
        """
        keys = authentication(jwks)
        before = self._cache.get(keys.key)
        self._cache.apply([keys])
        try:
            await self._acknowledged(keys.key.name, _wanted([keys]))
        except BaseException:
            if before is not None:
                self._cache.apply([before])
            raise

    async def publish(self, traffic: ServiceTraffic) -> str:
        """Put ``traffic`` in force: clusters first, then routes, then what is no longer used.

        Returns the version of the routing that Envoy has acknowledged, a digest; at once when it
        has this very content. Raises
        ``GatewayTimeout`` when Envoy does not acknowledge in time (the traffic stays and reaches
        it when it comes back) and ``InternalFailure`` when it refuses (the traffic before stays).
        """
        snapshot = self._snapshot(traffic)
        async with self._lock(traffic.service_id):
            if self._cache.in_force(_wanted(snapshot)):
                return snapshot.routing_version
            before = self._snapshots.get(traffic.service_id)
            self._snapshots[traffic.service_id] = snapshot
            self._retirement.define(snapshot.name, clusters_of(snapshot))
            try:
                await self._put(snapshot)
                if before is not None and before.instances - snapshot.instances:
                    await asyncio.sleep(_SETTLE_S)
            except InternalFailure:
                self._restore(snapshot, before)
                raise
            except GatewayTimeout:
                self._cache.apply(snapshot)
                raise
            finally:
                self._retirement.schedule(traffic.service_id, traffic.timeout_s)
            return snapshot.routing_version

    async def withdraw(self, service_id: str) -> None:
        """Forget the service: its address answers 404 from now on (inference.md §1.6).

        Raises ``GatewayTimeout`` like ``publish``.
        """
        async with self._lock(service_id):
            before = self._snapshots.pop(service_id, None)
            scope, routes = Key(Kind.SCOPE, service_id), Key(Kind.ROUTES, service_id)
            self._cache.apply(remove=[scope])
            try:
                await self._acknowledged(service_id, {scope: None})
                reached(Step.GATEWAY_WITHDRAW)
                if before is not None and before.instances:
                    await asyncio.sleep(_SETTLE_S)
            finally:
                self._cache.apply(remove=[routes])
                self._retirement.schedule(service_id, self._predictions.prediction_timeout)

    def _snapshot(self, traffic: ServiceTraffic) -> Snapshot:
        snapshot = service_snapshot(traffic, retry_resets=self._predictions.retry_resets)
        require_consistent(snapshot)
        return snapshot

    def _lock(self, service_id: str) -> asyncio.Lock:
        """Held while one change of the service is on its way; changes of others do not wait."""
        lock = self._locks.get(service_id)
        if lock is None:
            lock = self._locks[service_id] = asyncio.Lock()
        return lock

    async def _put(self, snapshot: Snapshot) -> None:
        for part, step in (
            (snapshot.targets, Step.GATEWAY_TARGETS),
            (snapshot.routing, Step.GATEWAY_PUBLISH),
        ):
            self._cache.apply(part)
            await self._acknowledged(snapshot.name, _wanted(part))
            reached(step)

    async def _acknowledged(self, name: str, wanted: Mapping[Key, str | None]) -> None:
        try:
            await self._cache.acknowledged(wanted, _ACK_S)
        except TimeoutError as error:
            raise GatewayTimeout(
                f"The gateway did not take over the change of {name} within {_ACK_S:.0f} seconds. "
                "It gets it as soon as it answers again."
            ) from error
        except RefusedError as error:
            raise InternalFailure(
                f"The gateway refused the configuration of {name}: {error}"
            ) from error

    def _restore(self, refused: Snapshot, before: Snapshot | None) -> None:
        """Let nothing that Envoy refused stay in the cache: it would be refused again with all."""
        if before is None:
            self._snapshots.pop(refused.name, None)
            self._cache.apply(remove=[item.key for item in refused])
            return
        self._snapshots[refused.name] = before
        kept = set(_wanted(before))
        self._cache.apply(before, remove=[i.key for i in refused if i.key not in kept])

    def _clusters(self, service_id: str) -> frozenset[str]:
        current = self._snapshots.get(service_id)
        return clusters_of(current) if current is not None else frozenset()
