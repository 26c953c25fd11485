"""All environments of a home: built once for everybody who asks, and forgotten when unused."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog

from modelyard.clock import Clock
from modelyard.errors import DependenciesFailed
from modelyard.packages.environments.builder import WHEELS, Tell, build
from modelyard.packages.environments.installer import Installer
from modelyard.packages.environments.manifest import (
    UNUSED,
    Environment,
    is_usable,
    read_environment,
)
from modelyard.packages.environments.wanted import Wanted
from modelyard.settings import Settings
from modelyard.steps import Step, reached
from modelyard.store.database import Database
from modelyard.store.models import environments_in_use

log = structlog.get_logger(__name__)

COLLECT_S = 600.0
"""How often unused environments are looked for."""

_BUILDING = ".build-"
_GONE = ".gone-"
_AT_ONCE = 2


@dataclass
class _Build:
    task: asyncio.Task[Environment]
    waiting: int = 0


class Environments:
    """The environments under ``environments_dir``; ``start`` before use."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._folder = settings.environments_dir
        self._clock = clock
        self._builds: dict[str, _Build] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._held: Counter[str] = Counter()
        self._lately: set[str] = set()

    async def start(self) -> None:
        """Clear away what a crash left half made or half removed."""
        await asyncio.to_thread(self._sweep)

    def digest(self, request: Wanted) -> str:
        """The name of the environment of ``request`` on this machine, under these settings."""
        tag = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
        sources = f"sources {self._settings.source_builds}"
        return request.digest(tag, sys.base_prefix, sources, self._settings.package_index)

    async def is_usable(self, digest: str) -> bool:
        """Whether instances can run in the environment of that digest."""
        return await asyncio.to_thread(is_usable, self._folder, digest)

    @contextmanager
    def held(self, digest: str) -> Iterator[None]:
        """Within the block nobody collects the environment, whatever the database says."""
        self._held[digest] += 1
        self._lately.add(digest)
        try:
            yield
        finally:
            self._held[digest] -= 1
            if not self._held[digest]:
                del self._held[digest]

    async def obtain(self, request: Wanted, model_dir: Path, tell: Tell) -> Environment:
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

    async def collect(self, database: Database) -> None:
        """Remove environments that no model has referred to for ``environment_grace`` seconds."""
        self._lately = set(self._held)
        async with database.read() as session:
            used = await environments_in_use(session)
        # Not in a thread: between the look and the removal nobody may come to hold one.
        for gone in self._take_away(used, self._clock.now_ms()):
            await asyncio.to_thread(shutil.rmtree, gone, True)

    def _take_away(self, used: set[str], now: int) -> list[Path]:
        """Give those whose time has come another name, at once, so that nobody finds a part."""
        taken = []
        for folder in sorted(self._folder.iterdir()):
            name = folder.name
            if name.startswith(".") or name in self._builds:
                continue
            if name in used or name in self._lately:
                (folder / UNUSED).unlink(missing_ok=True)
            elif now - _unused_since(folder, now) >= self._settings.environment_grace * 1000:
                aside = self._folder / f"{_GONE}{name}-{self._clock.new_hex(8)}"
                taken.append(folder.rename(aside))
                reached(Step.ENVIRONMENT_REMOVED)
                self._log(name).unlink(missing_ok=True)
                log.info("environment removed", digest=name)
        return taken

    async def _build(
        self, request: Wanted, digest: str, model_dir: Path, tell: Tell
    ) -> Environment:
        aside = self._folder / f"{_BUILDING}{digest}-{self._clock.new_hex(8)}"
        limit = self._settings.environment_timeout
        try:
            await asyncio.to_thread(self._prepare, request, digest, model_dir, aside)
            installer = Installer(self._settings, self._log(digest))
            async with self._turns, asyncio.timeout(limit):
                environment = await build(request, digest, aside, installer, installed, tell)
            await asyncio.to_thread(self._put_in_place, aside, digest)
        except TimeoutError:
            raise DependenciesFailed(
                f"The dependencies could not be installed within {limit:g} s. Ask for fewer, raise "
                "MODELYARD_ENVIRONMENT_TIMEOUT, or see to the network; then import it again."
            ) from None
        finally:
            await asyncio.to_thread(shutil.rmtree, aside, True)
        log.info("environment built", digest=digest, seconds=environment.seconds)
        return environment

    def _prepare(self, request: Wanted, digest: str, model_dir: Path, aside: Path) -> None:
        aside.mkdir(parents=True, mode=0o755)
        self._log(digest).parent.mkdir(parents=True, exist_ok=True)
        self._log(digest).write_bytes(b"")
        for want in request.wants:
            if want.wheel:
                # Its own copy: the model may be deleted while others wait for the environment.
                copy = aside / WHEELS / want.wheel
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(model_dir / want.wheel, copy)

    def _put_in_place(self, aside: Path, digest: str) -> None:
        shutil.rmtree(aside / WHEELS, ignore_errors=True)
        final = self._folder / digest
        # Without a manifest it is no environment, whoever left it.
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        reached(Step.ENVIRONMENT_BUILT)

    def _log(self, digest: str) -> Path:
        return self._settings.logs_dir / "environments" / f"{digest}.log"

    def _sweep(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for prefix in (_BUILDING, _GONE):
            for folder in self._folder.glob(f"{prefix}*"):
                shutil.rmtree(folder, ignore_errors=True)


def installed(name: str) -> str | None:
    """The version that the platform's own environment has of a distribution."""
    try:
        return version(name)
    except (PackageNotFoundError, ValueError):
        return None


def _unused_since(folder: Path, now: int) -> int:
    """When the environment was first seen unused, in ms since 1970; now, if this is the time."""
    mark = folder / UNUSED
    with contextlib.suppress(OSError, ValueError):
        return int(mark.read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        mark.write_text(str(now), encoding="ascii")
    return now
