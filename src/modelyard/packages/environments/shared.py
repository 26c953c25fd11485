"""All environments of a home: built once for everybody who asks, and forgotten when unused."""

from __future__ import annotations

import asyncio
import shutil
import sys
import sysconfig
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog

from modelyard.clock import Clock
from modelyard.errors import DependenciesFailed, EnvironmentTooLarge
from modelyard.packages.environments.builder import WHEELS, Tell, build
from modelyard.packages.environments.installer import Installer
from modelyard.packages.environments.manifest import (
    VENV,
    Environment,
    is_usable,
    read_environment,
)
from modelyard.packages.environments.requirement_set import RequirementSet
from modelyard.packages.environments.space import (
    MB,
    Files,
    bounded,
    files_below,
    size,
    too_large,
)
from modelyard.packages.environments.store import EnvironmentStore
from modelyard.settings import HomeLayout, PackageSettings
from modelyard.store.database import Database

log = structlog.get_logger(__name__)

COLLECT_S = 600.0
"""How often unused environments are looked for."""

_AT_ONCE = 2


@dataclass
class _Build:
    task: asyncio.Task[Environment]
    waiting: int = 0


class Environments:
    """The environments under ``environments_dir``; ``start`` before use."""

    def __init__(
        self,
        settings: PackageSettings,
        layout: HomeLayout,
        clock: Clock,
        database: Database | None = None,
    ) -> None:
        """Without the ``database`` none is ever removed: it tells which ones models refer to."""
        self._settings = settings
        self._layout = layout
        self._folder = layout.environments_dir
        self._cache = layout.environments_cache_dir
        self._shelf = EnvironmentStore(settings, layout, clock, database)
        self._builds: dict[str, _Build] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def start(self) -> None:
        """Clear away what a crash left half made or half removed."""
        await asyncio.to_thread(self._shelf.sweep)

    def digest(self, request: RequirementSet) -> str:
        """The name of the environment of ``request`` on this machine, under these settings."""
        tag = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
        sources = f"sources {self._settings.source_builds}"
        return request.digest(tag, sys.base_prefix, sources, self._settings.package_index)

    async def is_usable(self, digest: str) -> bool:
        """Whether instances can run in the environment of that digest."""
        return await asyncio.to_thread(is_usable, self._folder, digest)

    def held(self, digest: str) -> AbstractContextManager[None]:
        """Within the block nobody collects the environment, whatever the database says."""
        return self._shelf.held(digest)

    async def obtain(self, request: RequirementSet, model_dir: Path, tell: Tell) -> Environment:
        """The environment of ``request`` (``sealed``), built now unless it is there.

        ``model_dir`` has the package's own wheels. Several callers who ask for the same set wait
        for one build; it ends when the last of them is cancelled. Raises ``DependenciesFailed``,
        ``OSError``.
        """
        digest = self.digest(request)
        found = await asyncio.to_thread(read_environment, self._folder, digest)
        if found is not None and await self.is_usable(digest):
            await tell("ready already, shared with an earlier model")
            return found
        running = self._builds.get(digest)
        if running is None:
            work = self._build(request, digest, model_dir, tell)
            running = _Build(asyncio.create_task(work, name=f"environment {digest}"))
            self._builds[digest] = running
            running.task.add_done_callback(lambda _: self._builds.pop(digest, None))
        else:
            await tell("being built for another model already; waiting for it")
        running.waiting += 1
        try:
            return await asyncio.shield(running.task)
        finally:
            running.waiting -= 1
            if not running.waiting and not running.task.done():
                running.task.cancel()
                await asyncio.gather(running.task, return_exceptions=True)

    async def collect(self) -> None:
        """Remove environments that no model needs any more (``EnvironmentStore.collect``)."""
        await self._shelf.collect()

    async def _build(
        self, request: RequirementSet, digest: str, model_dir: Path, tell: Tell
    ) -> Environment:
        aside = self._shelf.aside(digest)
        limit = self._settings.environment_timeout
        try:
            await asyncio.to_thread(self._prepare, request, digest, model_dir, aside)
            installer = Installer(self._settings, self._layout, self._shelf.log(digest))
            with self._shelf.held(digest):
                async with self._turns, asyncio.timeout(limit):
                    before = await asyncio.to_thread(files_below, self._cache)
                    work = build(request, digest, aside, installer, installed, tell)
                    environment = await self._bounded(work, aside, before)
                await self._shelf.make_room(aside / VENV, alone=self._alone)
                await asyncio.to_thread(self._put_in_place, aside, digest)
        except TimeoutError:
            raise DependenciesFailed(
                f"The dependencies could not be installed within {limit:g} s. Ask for fewer, raise "
                "MODELYARD_ENVIRONMENT_TIMEOUT, or see to the network; then import it again."
            ) from None
        except EnvironmentTooLarge:
            if self._alone:
                await self._shelf.forget_cache()
            raise
        finally:
            await asyncio.to_thread(shutil.rmtree, aside, True)
        log.info("environment built", digest=digest, seconds=environment.seconds)
        return environment

    @property
    def _alone(self) -> bool:
        return len(self._builds) <= 1

    async def _bounded(
        self, work: Awaitable[Environment], aside: Path, before: Files
    ) -> Environment:
        """``work`` in ``aside``, ended as soon as it takes more than one environment may.

        ``before``: what was in the cache when it began.
        """

        def taken() -> int:
            own = files_below(aside / VENV)
            # It is fetched first, and installed when all of it is there. Of two builds at one time
            # nobody can tell which one fetched what.
            fetched = files_below(self._cache) if self._alone else {}
            return size(own, {k: v for k, v in fetched.items() if k not in before})

        most = self._settings.environment_limit_mb * MB
        environment = await bounded(work, taken, most)
        if most and environment.size > most:
            raise too_large(most)
        return environment

    def _prepare(self, request: RequirementSet, digest: str, model_dir: Path, aside: Path) -> None:
        aside.mkdir(parents=True, mode=0o755)
        self._shelf.log(digest).parent.mkdir(parents=True, exist_ok=True)
        self._shelf.log(digest).write_bytes(b"")
        for want in request.wants:
            if want.wheel:
                # Its own copy: the model may be deleted while others wait for the environment.
                copy = aside / WHEELS / want.wheel
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(model_dir / want.wheel, copy)

    def _put_in_place(self, aside: Path, digest: str) -> None:
        shutil.rmtree(aside / WHEELS, ignore_errors=True)
        self._shelf.put_in_place(aside, digest)


def installed(name: str) -> str | None:
    """The version that the platform's own environment has of a distribution."""
    try:
        return version(name)
    except (PackageNotFoundError, ValueError):
        return None
