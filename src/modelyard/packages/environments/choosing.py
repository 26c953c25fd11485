"""Does a package need an environment of its own, and which? (models.md §3.4, §9)"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from modelyard.packages.config.requirements import POLICIES, Installation
from modelyard.packages.environments.implied import (
    CARRIED,
    computes,
    implied,
    imported,
    missing,
    needed,
)
from modelyard.packages.environments.requirement_set import (
    Policy,
    RequirementSet,
    is_met,
    sealed,
    wanted,
)
from modelyard.packages.environments.shared import installed
from modelyard.packages.layout import SCRIPT

# What is looked at for imports, at most; a script's imports stand at its beginning.
_FILES = 500
_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Choice:
    """``wanted`` is None where the platform's own environment serves. ``warnings``: sentences."""

    wanted: RequirementSet | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvironmentRequest:
    """What a package says of what it needs. ``policy``: blank means relaxed."""

    engine: str
    runtime: str
    installations: tuple[Installation, ...]
    policy: str = ""


def choose(asked: EnvironmentRequest, model_dir: Path) -> Choice:
    """What the package in ``model_dir`` runs in.

    The platform's own environment when it meets every dependency exactly, also when there is none,
    and has the engine where the package cannot do without: that costs nothing. Else one of its own,
    with what the engine and the script need beside the dependencies. Raises ``InvalidRequest`` for
    a wheel that is not there, ``OSError``.
    """
    request = wanted(asked.installations, Policy(asked.policy or POLICIES[0]))
    imports, computing = _read(model_dir)
    script = (model_dir / SCRIPT).is_file()
    engine = needed(asked.engine, imports, script=script, computes=computing)
    ready = not engine or find_spec(engine) is not None
    if ready and all(is_met(want, installed) for want in request.wants):
        absent = missing(imports, [name for name in CARRIED if find_spec(name) is not None])
        return Choice(
            None,
            tuple(
                f"the package imports {name}, which the platform's own environment lacks; name it "
                "in the dependencies to have it installed"
                for name in absent
            ),
        )
    names = [want.name for want in request.wants]
    more = implied(asked.engine, asked.runtime, imports, names, engine)
    request = replace(request, wants=(*request.wants, *more))
    return Choice(sealed(request, model_dir))


def _read(model_dir: Path) -> tuple[set[str], bool]:
    """The modules that the package's files import and do not bring themselves; whether they
    compute predictions.
    """
    found: set[str] = set()
    own: set[str] = set()
    computing = False
    for path in itertools.islice(_scripts(model_dir), _FILES):
        own.update((path.stem, path.parent.name))
        with path.open("rb") as file:
            source = file.read(_BYTES).decode(errors="replace")
        found |= imported(source)
        computing = computing or computes(source)
    return found - own, computing


def _scripts(model_dir: Path) -> Iterator[Path]:
    return (path for path in model_dir.rglob("*.py") if path.is_file())
