"""One environment, from what is wanted to a folder that is whole."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from modelyard.errors import DependenciesFailed
from modelyard.packages.environments.fallback_pins import (
    Finding,
    brief,
    demanded,
    ladder,
    locked_version,
    pins,
    specification,
)
from modelyard.packages.environments.installer import Installer, Unobtainable
from modelyard.packages.environments.manifest import LOCK, VENV, Environment
from modelyard.packages.environments.requirement_set import Policy, RequirementSet, Want
from modelyard.packages.environments.space import files_below, size

Tell = Callable[[str], Awaitable[None]]
Installed = Callable[[str], str | None]

WHEELS = "wheels"
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What is asked for instead of ``want``; None: nothing of it can be had. ``reason``: why."""

    want: Want
    demand: str | None
    relaxed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The whole set as lines for an installer, and where it differs from what was asked for."""

    lock: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


async def build(
    request: RequirementSet,
    digest: str,
    folder: Path,
    installer: Installer,
    installed: Installed,
    tell: Tell,
) -> Environment:
    """Make the environment of ``request`` in ``folder``, which holds its wheels in ``wheels/``.

    ``tell`` hears of progress. Raises ``DependenciesFailed`` with the installer's reason,
    ``OSError``.
    """
    begin = time.monotonic()
    resolved = await resolve(request, folder, installer, installed)
    await tell(f"{len(resolved.lock)} distributions resolved; installing")
    try:
        await asyncio.to_thread(_write, folder / LOCK, resolved.lock)
        await installer.make(folder / VENV)
        await installer.install(folder / VENV, folder / LOCK)
    except Unobtainable as error:
        raise _failed(str(error)) from error
    await installer.compile(folder / VENV)
    environment = Environment(
        digest=digest,
        python=platform.python_version(),
        policy=str(request.policy),
        wanted=tuple(str(want) for want in request.declared),
        lock=tuple(shown(line) for line in resolved.lock),
        findings=resolved.findings,
        seconds=round(time.monotonic() - begin, 3),
        size=size(await asyncio.to_thread(files_below, folder / VENV)),
    )
    await asyncio.to_thread(environment.write, folder)
    return environment


async def resolve(
    request: RequirementSet, folder: Path, installer: Installer, installed: Installed
) -> Resolved:
    """Everything exactly if that can be; else each demand by itself, then all together.

    Raises ``DependenciesFailed``.
    """
    wheels, exact = folder / WHEELS, request.policy is Policy.EXACT
    rungs = {
        # What nobody asked for is never insisted on.
        want: ladder(want, Policy.RELAXED if want.implied else request.policy, installed, wheels)
        for want in request.wants
    }
    asked = [specification(want, wheels) for want in request.wants]
    if asked == [found[0] for found in rungs.values()]:
        try:
            return Resolved(await installer.resolve(asked))
        except Unobtainable as error:
            if exact and request.declared == request.wants:
                raise _failed(str(error)) from error
        except DependenciesFailed:
            # A wheel of the package's own that cannot be read may still be stood in for.
            if exact or not any(want.wheel for want in request.wants):
                raise
    chosen = await _choose_all(rungs, wheels, installer)
    for one in chosen:
        if one.demand is None and one.want.needed:
            raise _no_engine(one.want, one.reason)
        if one.demand is None and not one.want.implied:
            raise _failed(f"{one.want}: {one.reason}")
    return await _together(chosen, folder, installer, exact=exact)


async def _choose_all(
    rungs: Mapping[Want, Sequence[str]], wheels: Path, installer: Installer
) -> list[_Chosen]:
    turns = asyncio.Semaphore(_AT_ONCE)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_choose(want, found, wheels, installer, turns))
                for want, found in rungs.items()
            ]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]


async def _choose(
    want: Want, rungs: Sequence[str], wheels: Path, installer: Installer, turns: asyncio.Semaphore
) -> _Chosen:
    """The first rung that can be had with all that it needs itself."""
    asked, why = specification(want, wheels), ""
    for rung in rungs:
        try:
            async with turns:
                await installer.resolve([rung])
        except Unobtainable as error:
            last = str(error)
            why = why or brief(last)
        except DependenciesFailed as error:
            if rung != asked or not want.wheel:
                raise
            why = last = error.message
        else:
            return _Chosen(want, rung, rung != asked, why)
    return _Chosen(want, None, False, last)


async def _together(
    chosen: Sequence[_Chosen], folder: Path, installer: Installer, *, exact: bool
) -> Resolved:
    demands = [one.demand for one in chosen if one.demand is not None]
    findings = [
        Finding("left-out", str(one.want), reason=one.reason)
        for one in chosen
        if one.demand is None
    ]
    try:
        lock = await installer.resolve(demands)
    except Unobtainable as error:
        if exact:
            raise _failed(str(error)) from error
        # What pip does, which packages were made with: the pins win, whatever their authors say.
        strict = pins([one.demand for one in chosen if one.demand and not one.want.implied])
        try:
            lock = await installer.resolve(demands, strict, folder)
        except Unobtainable as second:
            raise _failed(str(second)) from second
        told = ", ".join(shown(pin) for pin in strict)
        findings.append(Finding("contradiction", told, reason=str(error)))
    relaxed = [
        Finding(
            "relaxed", str(one.want), shown(locked_version(demanded(one.demand), lock)), one.reason
        )
        for one in chosen
        if one.demand is not None and one.relaxed
    ]
    return Resolved(lock, (*relaxed, *findings))


def shown(line: str) -> str:
    """A line of a lock for people: a wheel by its file's name, without the place where it lay."""
    name, at, uri = line.partition(" @ ")
    return f"{name} @ {unquote(uri).rpartition('/')[2]}" if at else line


def _no_engine(want: Want, reason: str) -> DependenciesFailed:
    """What a default handler computes with; its user has declared nothing that could be wrong."""
    return DependenciesFailed(
        f"The model needs {want.name}, which is neither in the platform's own environment nor to "
        f"be had for one of its own: {reason.rstrip('.')}. Have the operator see to "
        "MODELYARD_PACKAGE_INDEX; then delete this model and import it again."
    )


def _failed(reason: str) -> DependenciesFailed:
    remedy = (
        "Correct them in config.json or in the create call, delete this model and import it again."
    )
    if "no usable wheels" in reason:
        remedy += " Where there are sources only, the operator may allow MODELYARD_SOURCE_BUILDS."
    return DependenciesFailed(
        f"The dependencies cannot be installed: {reason.rstrip('.')}. {remedy}"
    )


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}{os.linesep}" for line in lines), encoding="utf-8")
