"""Processes and containers behind one runtime: an instance with an image is a container."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec
from modelyard.runtime.containers.container_runtime import ContainerRuntime
from modelyard.runtime.containers.engine import ContainerEngine
from modelyard.runtime.limits.instance_limits import Limits
from modelyard.runtime.local.local_runtime import LocalRuntime
from modelyard.runtime.local.zygotes import WarmStarts
from modelyard.settings import HomeLayout, RuntimeSettings


class CompositeRuntime:
    """Satisfies ``control.ports.Runtime``."""

    def __init__(self, local: LocalRuntime, containers: ContainerRuntime) -> None:
        self._local = local
        self._containers = containers

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(instance_id)`` when an instance ends."""
        self._local.on_exit(callback)
        self._containers.on_exit(callback)

    async def close(self) -> None:
        """Stop watching; the instances go on."""
        self._local.close()
        await self._containers.close()

    async def start(self, spec: InstanceSpec) -> None:
        """Raises ``OSError`` when it cannot be started."""
        await (self._containers if spec.image else self._local).start(spec)

    async def probe(self, instance_id: str) -> InstanceReport | None:
        """Look at the instance now; None when nothing is known of this id."""
        return await self._of(instance_id).probe(instance_id)

    async def drain(self, instance_id: str) -> None:
        """Ask it to finish what it has and exit; returns at once."""
        await self._of(instance_id).drain(instance_id)

    async def stop(self, instance_id: str) -> None:
        """End it now, with everything it started, and forget it."""
        await self._of(instance_id).stop(instance_id)

    def log_tail(self, instance_id: str, lines: int = 20) -> str:
        """The last lines of the instance's log, or an empty string."""
        return self._of(instance_id).log_tail(instance_id, lines)

    # Last, because its name hides the built-in one from the annotations below it.
    async def list(self) -> list[InstanceReport]:
        """Every instance of this home."""
        local, containers = await asyncio.gather(self._local.list(), self._containers.list())
        return [*local, *containers]

    def _of(self, instance_id: str) -> LocalRuntime | ContainerRuntime:
        return self._containers if self._containers.owns(instance_id) else self._local


def open_runtime(
    settings: RuntimeSettings,
    layout: HomeLayout,
    engine: ContainerEngine | None = None,
    limits: Limits | None = None,
    warm: WarmStarts | None = None,
) -> CompositeRuntime:
    """Open the runtime of a home.

    All but ``settings`` and ``layout`` belong to the control plane; without them, the runtime can
    only look at instances and end them.
    """
    node = layout.node_file.read_text() if layout.node_file.exists() else ""
    containers = ContainerRuntime(
        engine or ContainerEngine(settings.container_host),
        layout.containers_dir,
        layout.logs_dir,
        node=node,
        active=engine is not None,
    )
    local = LocalRuntime(layout.instances_dir, layout.logs_dir, limits=limits, warm=warm)
    return CompositeRuntime(local, containers)
