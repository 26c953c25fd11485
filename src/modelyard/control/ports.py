"""Protocols through which the control plane reaches everything but the database.

Runtimes (``runtime/``), the gateway (``gateway/``) and batch runs (``batch/``) satisfy them by
shape and import nothing from here; ``testing/`` has in-memory twins that run the same loops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from modelyard.domain.batch.run import Address, DriverReport, RunSpec
from modelyard.domain.canary.request_counts import Tally, VersionKey
from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec
from modelyard.domain.service.config import VersionConfig
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
        """Return every instance that this runtime knows, adopted ones included."""
        ...

    def log_tail(self, instance_id: str, lines: int = 20) -> str:
        """Return the last lines of the instance's log, or an empty string."""
        ...

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(instance_id)`` in the event loop when an instance's process ends."""
        ...


class Gateway(Protocol):
    """Publishes traffic. A call that returns has been acknowledged by Envoy."""

    async def publish(self, traffic: ServiceTraffic) -> str:
        """Put ``traffic`` in force for its service; returns after Envoy's acknowledgement.

        Returns the version of the routing that Envoy acknowledged, a digest of its content.

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
        """Remove the service: its address answers 404 from now on."""
        ...


class Drivers(Protocol):
    """The drivers of batch runs: processes that outlive the control plane, reached by files."""

    def report(self, task_id: str) -> DriverReport:
        """Look at a run now; an unknown one has no driver."""
        ...

    async def prepare(self, spec: RunSpec) -> None:
        """Make the run's folder, unless it is there. Raises ``OSError``."""
        ...

    async def point(self, task_id: str, addresses: Sequence[Address]) -> None:
        """Name the ready instances to the driver. Raises ``OSError``."""
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
        """Return the task ids of all runs that have a folder."""
        ...

    def log_tail(self, task_id: str) -> str:
        """Return the last line that the driver printed, or an empty string."""
        ...

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(task_id)`` in the event loop when a driver ends."""
        ...


class Surveyor(Protocol):
    """Checks what a batch configuration would read and write."""

    async def check(self, project_id: str, config: VersionConfig) -> None:
        """Raises ``InvalidRequest`` 3551, 3567 or 3572 for an input or output that is unusable."""
        ...

    async def preview(self, project_id: str, config: VersionConfig) -> dict[str, Any]:
        """Return what a run would read, send and write; raises like ``check``."""
        ...


class Requests(Protocol):
    """Predictions as the gateway counts them."""

    @property
    def on(self) -> bool:
        """Whether it counts at all."""
        ...

    @property
    def lag_ms(self) -> int:
        """After how many ms a completed prediction is certainly counted."""
        ...

    async def tallies(
        self, service_id: str, from_ms: int, until_ms: int
    ) -> Mapping[VersionKey, Tally]:
        """Count the service's predictions that ended in [``from_ms``, ``until_ms``), by version."""
        ...

    async def complete(self, service_id: str, from_ms: int) -> bool:
        """Whether every prediction since ``from_ms`` is counted or can still be."""
        ...
