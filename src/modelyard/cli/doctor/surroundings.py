"""What a package is tried in: the platform's own environment, or one of its own (models.md §3.4).

Environments lie in the home of the platform, under the names that an import gives them: what was
built for a check is there for the import, and the other way round.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from modelyard.clock import SystemClock
from modelyard.errors import DependenciesFailed, InvalidRequest
from modelyard.packages.config.config_json import ModelConfig
from modelyard.packages.doctor import Finding, Level
from modelyard.packages.environments.choosing import EnvironmentRequest, choose
from modelyard.packages.environments.manifest import Environment
from modelyard.packages.environments.requirement_set import RequirementSet
from modelyard.packages.environments.shared import Environments
from modelyard.settings import Settings

_WHERE = "model/config.json: dependencies"
_WITHOUT = "Mend that, or try it in the platform's own environment with --no-environment."


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``python``: the interpreter, "" for the platform's own; None where there is none to try in.

    ``environment``: of the package's own, which took ``seconds`` to be there; ``reused``: it was
    there already.
    """

    python: str | None = ""
    findings: tuple[Finding, ...] = ()
    environment: Environment | None = None
    seconds: float = 0.0
    reused: bool = False


def surroundings(
    package: Path, config: ModelConfig, settings: Settings, tell: Callable[[str], None], build: bool
) -> Surroundings:
    """Find the environment that an import of ``package`` would give it, building it if need be.

    ``tell`` hears of progress. Without ``build``, or where it cannot be built, a finding says so;
    nothing is raised.
    """
    asked = EnvironmentRequest(
        config.model_type, config.runtime, config.dependencies, config.dependency_policy
    )
    try:
        wanted = choose(asked, package / "model").wanted
        if wanted is None:
            return Surroundings()
        if not build:
            return Surroundings(findings=(_not_built(wanted),))
        return _built(wanted, package, settings, tell)
    except (DependenciesFailed, InvalidRequest) as error:
        return _none(error.message)
    except OSError as error:
        where = error.filename or settings.layout.environments_dir
        return _none(f"no environment can be built in {where}: {error.strerror or error}")


def quietly() -> None:
    """Keep what the platform would write into its log from this command's output."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _built(
    wanted: RequirementSet, package: Path, settings: Settings, tell: Callable[[str], None]
) -> Surroundings:
    """Raises ``DependenciesFailed``, ``OSError``."""
    for folder in (settings.home, settings.layout.environments_dir):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    environments = Environments(settings.packages, settings.layout, SystemClock())
    digest = environments.digest(wanted)

    async def progress(text: str) -> None:
        tell(f"environment: {text}")

    async def obtain() -> tuple[Environment, bool]:
        reused = await environments.is_usable(digest)
        if not reused:
            tell(f"building its environment: {_named(wanted)}")
        return await environments.obtain(wanted, package / "model", progress), reused

    begun = time.monotonic()
    environment, reused = asyncio.run(obtain())
    return Surroundings(
        settings.layout.environment_python(digest),
        tuple(_difference(one.document()) for one in environment.findings),
        environment,
        time.monotonic() - begun,
        reused,
    )


def _not_built(wanted: RequirementSet) -> Finding:
    says = f"{_named(wanted)} was not installed: it was tried in the platform's own environment"
    fix = "Leave out --no-environment to try it in its own."
    return Finding("environment", Level.WARNING, _WHERE, says, fix)


def _none(reason: str) -> Surroundings:
    finding = Finding("environment", Level.ERROR, _WHERE, f"{reason} It was not tried.", _WITHOUT)
    return Surroundings(None, (finding,))


def _difference(document: dict[str, str]) -> Finding:
    return Finding(document["kind"], Level.WARNING, _WHERE, document["says"], document["fix"])


def _named(wanted: RequirementSet) -> str:
    shown = [str(want) for want in wanted.declared or wanted.wants]
    return ", ".join(shown[:5]) + (", …" if len(shown) > 5 else "")
