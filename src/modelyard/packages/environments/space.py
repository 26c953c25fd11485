"""How much disk environments take, and which of them go first when it is too much.

Environments share the files of equal distributions with each other and with uv's cache, by hard
links: what is shared is counted once.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from modelyard.errors import DependenciesFailed, EnvironmentTooLarge

T = TypeVar("T")

MB = 1024 * 1024

Files = Mapping[tuple[int, int], int]
"""Bytes of each file by the device and the number that it has there."""

_LOOK_S = 2.0
# What uv notes down about an index lies in its cache, too, and is not the environment's.
_SLACK = 64 * MB


def files_below(folder: Path) -> Files:
    """The files in ``folder``; nothing where there is none. What vanishes meanwhile is left out."""
    found: dict[tuple[int, int], int] = {}
    folders = [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        about = entry.stat(follow_symlinks=False)
                        found[about.st_dev, about.st_ino] = about.st_size
        except FileNotFoundError:
            continue
    return found


def size(*parts: Files) -> int:
    """Bytes of all of them together. Pure."""
    together: dict[tuple[int, int], int] = {}
    for part in parts:
        together.update(part)
    return sum(together.values())


def leaving(
    kept: Sequence[Files], unused: Sequence[tuple[str, Files]], most: int
) -> tuple[str, ...] | None:
    """Which of ``unused``, from the first on, must go for the rest to take ``most`` bytes.

    ``kept``: what stays in any case. None: even that is too much. Pure.
    """
    owners = Counter(file for files in (*kept, *(one for _, one in unused)) for file in files)
    taken = size(*kept, *(files for _, files in unused))
    gone: list[str] = []
    for name, files in unused:
        if taken <= most:
            break
        gone.append(name)
        for file, bytes_ in files.items():
            owners[file] -= 1
            taken -= 0 if owners[file] else bytes_
    return tuple(gone) if taken <= most else None


async def bounded(
    work: Awaitable[T], taken: Callable[[], int], most: int, period_s: float = _LOOK_S
) -> T:
    """``work``, ended when it takes more than ``most`` bytes; 0: no limit.

    ``taken`` is asked in a thread, now and then. Raises ``EnvironmentTooLarge``.
    """
    task = asyncio.ensure_future(work)
    try:
        while most and not (await asyncio.wait({task}, timeout=period_s))[0]:
            if await asyncio.to_thread(taken) > most + _SLACK:
                raise too_large(most)
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def too_large(most: int) -> EnvironmentTooLarge:
    """Why one environment is refused. Pure."""
    return EnvironmentTooLarge(
        f"The environment is larger than the {most // MB} MB that one may take. Ask for fewer or "
        "smaller distributions, or have the operator raise MODELYARD_ENVIRONMENT_LIMIT_MB; then "
        "import it again."
    )


def no_room(most: int) -> DependenciesFailed:
    """Why one is refused that would fit by itself. Pure."""
    return DependenciesFailed(
        f"The environments of models leave no room for another within the {most // MB} MB that all "
        "may take together. Delete models that nobody needs, or have the operator raise "
        "MODELYARD_ENVIRONMENTS_LIMIT_MB; then import it again."
    )
