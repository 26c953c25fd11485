"""What the control loops ask of the world outside the database.

Runtimes (``runtime/``) and the gateway (``gateway/``) satisfy these by shape and import nothing
from here; ``testing/`` has twins that run the same loops in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from modelyard.batch.spec import Address, RunSpec
from modelyard.batch.supervision import DriverReport
from modelyard.domain.canary.request_counts import Tally, VersionKey
from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec
from modelyard.domain.service.traffic import ServiceTraffic


class Runtime(Protocol):
    """Starts, watches and stops instances. Every verb is idempotent and keyed by instance id."""

    async def start(self, spec: InstanceSpec) -> None:
        """Launch the instance; returns once its process exists. Starting a living one does nothing.

        Raises ``OSError`` when no process can be made.
        """
        ...

    async def probe(self, instance_id: str) -> InstanceReport | None:
        """Look at the instance now; None when nothing is known of this id."""
        ...

    async def drain(self, instance_id: str) -> None:
        """Ask it to finish what it has and exit; returns at once. Unknown ids are ignored."""
        ...

    async def stop(self, instance_id: str) -> None:
        """End it now, with everything it started, and forget it. Unknown ids are ignored."""
        ...

    async def list(self) -> list[InstanceReport]:
        """Every instance this runtime knows, also those an earlier control plane started."""
        ...

    def log_tail(self, instance_id: str, lines: int = 20) -> str:
        """The last lines of the instance's log, or an empty string."""
        ...

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(instance_id)`` in the event loop when an instance's process ends."""
        ...


class Gateway(Protocol):
    """Publishes traffic. A call that returns has been acknowledged by Envoy."""

    async def publish(self, traffic: ServiceTraffic) -> str:
        """Put ``traffic`` in force for its service; returns after Envoy's acknowledgement.

        The answer is the version of the routing that Envoy acknowledged, a digest of its content.

        Raises ``GatewayTimeout`` when Envoy did not acknowledge in time; the traffic stays
        published and reaches Envoy when it comes back.
        """
        ...

    async def set_jwks(self, jwks: Mapping[str, object]) -> None:
        """Verify tokens by these public keys (a JWK set) from now on.

        Raises ``GatewayTimeout`` like ``publish``.
        """
        ...

    async def withdraw(self, service_id: str) -> None:
        """Forget the service: its address answers 404 from now on."""
        ...


class Drivers(Protocol):
    """The drivers of batch runs: processes that outlive us, told and heard by files."""

    def report(self, task_id: str) -> DriverReport:
        """Look at a run now; one that nothing is known of has no driver."""
        ...

    async def prepare(self, spec: RunSpec) -> None:
        """Make the run's folder, unless it is there. Raises ``OSError``."""
        ...

    async def point(self, task_id: str, addresses: Sequence[Address]) -> None:
        """Tell the driver which instances are ready. Raises ``OSError``."""
        ...

    async def start(self, task_id: str) -> None:
        """Start the driver unless it lives. Raises ``OSError`` when no process can be made."""
        ...

    async def end(self, task_id: str, *, at_once: bool = False) -> None:
        """Ask the driver to checkpoint and end; with ``at_once`` kill it."""
        ...

    async def remove(self, task_id: str) -> None:
        """Forget everything of a run whose driver has ended."""
        ...

    def known(self) -> list[str]:
        """The task ids of all runs of which something is kept."""
        ...

    def log_tail(self, task_id: str) -> str:
        """The last line that the driver printed, or an empty string."""
        ...

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(task_id)`` in the event loop when a driver ends."""
        ...


class Requests(Protocol):
    """What the gateway counted of predictions."""

    @property
    def on(self) -> bool:
        """Whether it counts at all."""
        ...

    @property
    def lag_ms(self) -> int:
        """How long after its end a prediction is surely counted."""
        ...

    async def tallies(
        self, service_id: str, from_ms: int, until_ms: int
    ) -> Mapping[VersionKey, Tally]:
        """Predictions of the service that ended in [``from_ms``, ``until_ms``), by version."""
        ...

    async def complete(self, service_id: str, from_ms: int) -> bool:
        """Whether every prediction since ``from_ms`` is counted or can still be."""
        ...
