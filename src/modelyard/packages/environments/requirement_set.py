"""The set of distributions a package wants, in one normal form, and its digest (models.md §3.4).

Pure, but for ``sealed``, which reads the wheels that a package brings along.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion

from modelyard.errors import Problem, refuse
from modelyard.packages.config.requirements import SIGNS, Installation, Requirement

PACKAGE_ROOT = "/home/mind/model/"
"""Where packages believe that they lie; paths in dependencies begin with it (models.md §9)."""


class Policy(StrEnum):
    """What happens to a pin that cannot be had for this Python (models.md §9).

    ``RELAXED``: something near it is taken, and told. ``EXACT``: the import fails.
    """

    RELAXED = "relaxed"
    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Want:
    """One distribution. ``sign`` is ``==``, ``>=``, ``<=`` or "" for any version.

    ``wheel``: a file that the package brings, relative to ``model/``, ``sha256`` its digest.
    ``implied``: nobody asked for it, but the engine and the script need it; ``needed``: so much
    that there is no model without it.
    """

    name: str
    sign: str = ""
    version: str = ""
    extras: tuple[str, ...] = ()
    wheel: str = ""
    sha256: str = ""
    implied: bool = False
    needed: bool = False

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return self.wheel or f"{self.name}{extras}{self.sign}{self.version}"


@dataclass(frozen=True, slots=True)
class RequirementSet:
    """What one package asks for; equal sets give equal digests, whatever their order."""

    wants: tuple[Want, ...]
    policy: Policy = Policy.RELAXED

    @property
    def declared(self) -> tuple[Want, ...]:
        """What the package itself asks for."""
        return tuple(want for want in self.wants if not want.implied)

    def digest(self, *circumstances: str) -> str:
        """32 hex digits that name the set under ``circumstances`` (Python, index, policy…)."""
        # Stable: of two demands on one distribution the later one keeps its place.
        ordered = sorted(
            (_contents(want) for want in self.wants), key=lambda document: str(document["name"])
        )
        text = json.dumps([ordered, self.policy, circumstances], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def wanted(
    installations: Sequence[Installation],
    policy: Policy = Policy.RELAXED,
    implied: Sequence[Want] = (),
) -> RequirementSet:
    """The normal form of a package's ``dependencies`` with what they imply.

    Names are canonical, equal demands are one, the rest keeps its order.
    """
    declared = [_want(one) for entry in installations for one in entry.packages]
    return RequirementSet(tuple(dict.fromkeys((*declared, *implied))), policy)


def sealed(request: RequirementSet, model_dir: Path) -> RequirementSet:
    """``request`` with the digests of the wheels in ``model_dir``.

    Raises ``InvalidRequest`` (3041) for one that is not there, ``OSError`` for one that cannot be
    read.
    """
    return replace(request, wants=tuple(_sealed(want, model_dir) for want in request.wants))


def is_version(sign: str, version: str) -> bool:
    """Whether an installer understands ``sign`` with ``version``."""
    try:
        Specifier(f"{sign}{version}")
    except InvalidSpecifier:
        return False
    return True


def is_met(want: Want, installed: Callable[[str], str | None]) -> bool:
    """Whether ``installed`` (a version by name, None: absent) is what ``want`` asks for."""
    there = None if want.wheel or want.extras else installed(want.name)
    if there is None or not want.sign:
        return there is not None
    try:
        return Specifier(f"{want.sign}{want.version}").contains(there, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return False


def _contents(want: Want) -> dict[str, object]:
    """What becomes of a demand, whoever made it."""
    document: dict[str, object] = {**asdict(want), "implied": False, "wheel": ""}
    del document["needed"]
    return document


def _want(requirement: Requirement) -> Want:
    if requirement.name.startswith(PACKAGE_ROOT):
        path = requirement.name.removeprefix(PACKAGE_ROOT)
        name, version = file_distribution(path.rpartition("/")[2])
        return Want(name, "==" if version else "", version, wheel=path)
    bare, _, rest = requirement.name.partition("[")
    named = {canonicalize_name(part) for part in rest.rstrip("]").split(",") if part}
    sign = SIGNS.get(requirement.restraint, "")
    version = requirement.version if sign else ""
    return Want(canonicalize_name(bare), sign, version, tuple(sorted(named)))


def file_distribution(filename: str) -> tuple[str, str]:
    """Name and version that a wheel's or archive's file name tells; blank where it does not."""
    try:
        if filename.endswith(".whl"):
            name, version, *_ = parse_wheel_filename(filename)
        else:
            name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return "", ""
    return str(name), str(version)


def _sealed(want: Want, model_dir: Path) -> Want:
    if not want.wheel:
        return want
    path = model_dir / want.wheel
    if not path.resolve().is_relative_to(model_dir.resolve()) or not path.is_file():
        reason = f"{PACKAGE_ROOT}{want.wheel} is not in the package"
        remedy = f"Put it into the package as model/{want.wheel}, or name the distribution."
        raise refuse([Problem("dependencies", reason, remedy, code="3041")])
    with path.open("rb") as file:
        return replace(want, sha256=hashlib.file_digest(file, "sha256").hexdigest())
