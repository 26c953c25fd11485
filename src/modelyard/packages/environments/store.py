"""The folder that all environments lie in: what is there, who holds it, and what goes when."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog

from modelyard.clock import Clock
from modelyard.errors import DependenciesFailed
from modelyard.packages.environments.installer import Installer, Unobtainable
from modelyard.packages.environments.manifest import UNUSED, is_usable
from modelyard.packages.environments.space import MB, Files, files_below, leaving, no_room, size
from modelyard.settings import HomeLayout, PackageSettings
from modelyard.steps import Step, reached
from modelyard.store.database import Database
from modelyard.store.models import environments_in_use

log = structlog.get_logger(__name__)

_BUILDING = ".build-"
_GONE = ".gone-"
_CACHE_S = 60.0

Unused = Callable[[], list[tuple[str, int]]]
"""Those that nobody uses, the longest unused first, each with when that began in ms since 1970."""


class EnvironmentStore:
    """Everything below ``environments_dir``.

    Without a database nothing is ever removed: it tells which environments models refer to.
    """

    def __init__(
        self,
        settings: PackageSettings,
        layout: HomeLayout,
        clock: Clock,
        database: Database | None,
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._folder = layout.environments_dir
        self._clock = clock
        self._database = database
        self._held: Counter[str] = Counter()
        self._lately: set[str] = set()
        self._clearing = asyncio.Lock()

    def sweep(self) -> None:
        """Clear away what a crash left half made or half removed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for prefix in (_BUILDING, _GONE):
            for folder in self._folder.glob(f"{prefix}*"):
                shutil.rmtree(folder, ignore_errors=True)

    def log(self, name: str) -> Path:
        """Where uv's own words about one environment go."""
        return self._layout.logs_dir / "environments" / f"{name}.log"

    def aside(self, digest: str) -> Path:
        """A new name for a folder that becomes the environment once it is whole."""
        return self._folder / f"{_BUILDING}{digest}-{self._clock.new_hex(8)}"

    def put_in_place(self, aside: Path, digest: str) -> None:
        """Make ``aside`` the environment of that digest, unless another process has done so."""
        if is_usable(self._folder, digest):
            return
        final = self._folder / digest
        # Without a manifest, or without its Python, it is no environment, whoever left it.
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        reached(Step.ENVIRONMENT_BUILT)

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

    async def collect(self) -> None:
        """Remove environments that no model has referred to for ``environment_grace`` seconds, and
        more of the unused ones while all together take more than they may.
        """
        grace_ms = self._settings.environment_grace * 1000
        async with self._clear() as unused:
            now = self._clock.now_ms()
            await self._remove([name for name, since in unused() if now - since >= grace_ms])
        with contextlib.suppress(DependenciesFailed):
            await self.make_room()

    async def make_room(self, newcomer: Path | None = None, *, alone: bool = True) -> None:
        """Bring all environments, with the ``newcomer`` in its folder, below what they may take.

        ``alone``: nobody else is building. Raises ``DependenciesFailed`` when it cannot be done,
        and then no environment has gone.
        """
        most = self._settings.environments_limit_mb * MB
        if not most:
            return
        async with self._clear() as unused:
            parts = await asyncio.to_thread(self._parts, newcomer)
            if await asyncio.to_thread(size, *parts.values()) <= most:
                return
            # First what costs nobody more than another download.
            if alone:
                await self.forget_cache()
            while True:
                parts = await asyncio.to_thread(self._parts, newcomer)
                waiting = [(name, parts.pop(name)) for name, _ in unused() if name in parts]
                kept = list(parts.values())
                gone = await asyncio.to_thread(leaving, kept, waiting, most)
                if gone is None:
                    raise no_room(most)
                if set(gone) <= {name for name, _ in unused()}:
                    break
            await self._remove(gone)

    async def forget_cache(self) -> None:
        """Remove what uv has fetched, unless somebody else's uv is at work with it."""
        with contextlib.suppress(Unobtainable, DependenciesFailed, OSError, TimeoutError):
            async with asyncio.timeout(_CACHE_S):
                await Installer(self._settings, self._layout, self.log("cache")).forget_cache()

    @asynccontextmanager
    async def _clear(self) -> AsyncIterator[Unused]:
        """Within the block nobody else removes anything.

        What is unused is to be asked for right before it is removed, without a pause between the
        two: a moment later somebody may have come to hold it.
        """
        async with self._clearing:
            self._lately = set(self._held)
            used: set[str] | None = None
            if self._database is not None:
                async with self._database.read() as session:
                    used = await environments_in_use(session)
            yield lambda: self._unused(used)

    def _unused(self, used: set[str] | None) -> list[tuple[str, int]]:
        now, found = self._clock.now_ms(), []
        for folder in self._environments() if used is not None else ():
            if folder.name in (used or ()) or folder.name in self._lately:
                (folder / UNUSED).unlink(missing_ok=True)
            else:
                found.append((folder.name, _unused_since(folder, now)))
        return sorted(found, key=lambda one: one[1])

    async def _remove(self, names: Sequence[str]) -> None:
        """Give them other names, at once, so that nobody finds a part; then remove them."""
        taken = []
        for name in names:
            aside = self._folder / f"{_GONE}{name}-{self._clock.new_hex(8)}"
            taken.append((self._folder / name).rename(aside))
            reached(Step.ENVIRONMENT_REMOVED)
            self.log(name).unlink(missing_ok=True)
            log.info("environment removed", digest=name)
        for folder in taken:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    def _environments(self) -> list[Path]:
        return sorted(one for one in self._folder.iterdir() if not one.name.startswith("."))

    def _parts(self, newcomer: Path | None) -> dict[str, Files]:
        """What takes disk: each environment by its name, the rest under names that none has."""
        found = {folder.name: files_below(folder) for folder in self._environments()}
        found[".cache"] = files_below(self._layout.environments_cache_dir)
        if newcomer is not None:
            found[".new"] = files_below(newcomer)
        return found


def _unused_since(folder: Path, now: int) -> int:
    """When the environment was first seen unused, in ms since 1970; now, if this is the time."""
    mark = folder / UNUSED
    with contextlib.suppress(OSError, ValueError):
        return int(mark.read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        mark.write_text(str(now), encoding="ascii")
    return now
