"""A control plane whose services can share one instance, so that a thousand fit on a laptop.

A service with ``STAND_IN`` among its environment variables gets no process of its own: the first
such instance is real, all others answer through it. Everything else, the database, the loop, the
gateway's routes, clusters and endpoints, is the real thing.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from modelyard import composition
from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec
from modelyard.runtime.local.local_runtime import LocalRuntime

MARK = "STAND_IN"
_START_LIMIT_S = 60.0


class StandInRuntime:
    """The local runtime, but for instances that only stand in."""

    def __init__(self, instances_dir: Path, logs_dir: Path) -> None:
        self._real = LocalRuntime(instances_dir, logs_dir)
        self._shared_from: str | None = None
        self._standing: dict[str, InstanceSpec] = {}
        self._seen: InstanceReport | None = None
        self._seen_at = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def start(self, spec: InstanceSpec) -> None:
        if MARK not in spec.envs or self._shared_from in (None, spec.instance_id):
            if MARK in spec.envs:
                self._shared_from = spec.instance_id
            await self._real.start(spec)
            return
        self._standing[spec.instance_id] = spec

    async def probe(self, instance_id: str) -> InstanceReport | None:
        spec = self._standing.get(instance_id)
        if spec is None:
            return await self._real.probe(instance_id)
        real = await self._shared()
        return _as(spec, real) if real is not None else None

    async def _shared(self) -> InstanceReport | None:
        """The real one's report; asked for once a second, as one process answers for all."""
        assert self._shared_from is not None
        now = time.monotonic()
        if self._seen is None or now - self._seen_at > 1:
            self._seen_at = now
            self._seen = await self._real.probe(self._shared_from)
        return self._seen

    async def drain(self, instance_id: str) -> None:
        if instance_id not in self._standing:
            await self._real.drain(instance_id)

    async def stop(self, instance_id: str) -> None:
        if self._standing.pop(instance_id, None) is None:
            await self._real.stop(instance_id)

    async def list(self) -> list[InstanceReport]:
        found = await self._real.list()
        real = next((r for r in found if r.instance_id == self._shared_from), None)
        if real is not None:
            found += [_as(spec, real) for spec in self._standing.values()]
        return found


def _as(spec: InstanceSpec, real: InstanceReport) -> InstanceReport:
    return replace(
        real,
        instance_id=spec.instance_id,
        service_id=spec.service_id,
        model_id=spec.model_id,
    )


def start(address: str, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Run this module as the control plane and wait until the platform answers.

    Raises ``RuntimeError`` when it does not in time.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_LIMIT_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/", trust_env=False).status_code < 400:
                return process
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"the control plane did not start: {log.read_text()[-800:]}")
        time.sleep(0.05)


if __name__ == "__main__":
    setattr(composition, "LocalRuntime", StandInRuntime)  # noqa: B010  mypy: not a subclass
    composition.main()
