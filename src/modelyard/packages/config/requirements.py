"""``dependencies``: what a package wants installed (models.md §3.4); pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelyard.errors import Problem
from modelyard.packages.documents import wrong_type

_NAME = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?(?:\[[A-Za-z0-9._,-]{1,100}\])?"
)
# URLs, links to version control and options: what is installed comes from the platform's index.
_ELSEWHERE = re.compile(r"://|^-|^(?:git|hg|svn|bzr)\+|@")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_*-]{0,63}")
_WHEEL = re.compile(r"/home/mind/model/(?!.*\.\.)[A-Za-z0-9._/+-]{1,200}\.(?:whl|tar\.gz|zip)")
POLICIES = ("relaxed", "exact")
"""What happens to a pin that cannot be had (models.md §9); the first is the default. Ours."""

SIGNS = {"EXACT": "==", "ATLEAST": ">=", "ATMOST": "<="}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One package. ``restraint`` is ``EXACT``, ``ATLEAST``, ``ATMOST`` or "" for any version."""

    name: str
    version: str = ""
    restraint: str = ""

    def __str__(self) -> str:
        return f"{self.name}{SIGNS.get(self.restraint, '')}{self.version}"

    def document(self) -> dict[str, str]:
        """As the API shows it."""
        full = {"package_name": self.name}
        if self.version:
            full |= {"package_version": self.version, "restraint": self.restraint}
        return full


@dataclass(frozen=True, slots=True)
class Installation:
    """One entry of ``dependencies``: packages for one installer, in order."""

    installer: str
    packages: tuple[Requirement, ...]

    def document(self) -> dict[str, object]:
        """As the API shows it."""
        return {"installer": self.installer, "packages": [p.document() for p in self.packages]}


def parse_dependencies(
    value: object, field: str, problems: list[Problem]
) -> tuple[Installation, ...]:
    """The dependencies of a document; what is wrong goes to ``problems`` (3041).

    Blank strings count as absent. A version without a restraint means exactly that version: many
    real packages write it so.
    """
    if value in (None, ""):
        return ()
    if not isinstance(value, list):
        problems.append(wrong_type(field, "a list", value, "3041"))
        return ()
    parsed = [_entry(item, f"{field}[{i}]", problems) for i, item in enumerate(value)]
    return tuple(entry for entry in parsed if entry and entry.packages)


def parse_policy(value: object, field: str, problems: list[Problem]) -> str:
    """``dependency_policy`` of a document, "" where it says nothing; what is wrong: 3041."""
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or value.lower() not in POLICIES:
        remedy = f"Use {' or '.join(POLICIES)}."
        reason = f"{str(value)[:40]!r} is unknown"
        problems.append(Problem(field, reason, remedy, code="3041"))
        return ""
    return value.lower()


def _entry(item: object, field: str, problems: list[Problem]) -> Installation | None:
    if not isinstance(item, dict):
        problems.append(wrong_type(field, "an object", item, "3041"))
        return None
    installer = item.get("installer") or "pip"
    if not isinstance(installer, str) or installer.lower() != "pip":
        remedy = 'Only "pip" is supported; put other software into the package.'
        reason = f"{str(installer)[:40]!r} is not an installer"
        problems.append(Problem(f"{field}.installer", reason, remedy, code="3041"))
        return None
    packages = item.get("packages") or []
    if not isinstance(packages, list):
        problems.append(wrong_type(f"{field}.packages", "a list", packages, "3041"))
        return None
    parsed = [_package(one, f"{field}.packages[{i}]", problems) for i, one in enumerate(packages)]
    return Installation("pip", tuple(one for one in parsed if one))


def _package(item: object, field: str, problems: list[Problem]) -> Requirement | None:
    if not isinstance(item, dict):
        problems.append(wrong_type(field, "an object", item, "3041"))
        return None
    texts: dict[str, str] = {}
    for key in ("package_name", "package_version", "restraint"):
        value = item.get(key)
        if value is not None and not isinstance(value, str):
            problems.append(wrong_type(f"{field}.{key}", "a string", value, "3041"))
            return None
        texts[key] = (value or "").strip()
    name, version = texts["package_name"], texts["package_version"]
    restraint = texts["restraint"].upper()
    fault = _fault(name, version, restraint)
    if fault:
        key, reason, remedy = fault
        problems.append(Problem(f"{field}.{key}", reason, remedy, code="3041"))
        return None
    return Requirement(name, version, (restraint or "EXACT") if version else "")


def _fault(name: str, version: str, restraint: str) -> tuple[str, str, str] | None:
    if not name:
        return "package_name", "is missing", "Name the package."
    if _ELSEWHERE.search(name):
        reason = f"{name[:80]!r} names a place or an option, and dependencies are names"
        remedy = (
            "Name the distribution; the operator sets where it comes from, or put a wheel below "
        )
        return "package_name", reason, f"{remedy}/home/mind/model/."
    if not (_NAME.fullmatch(name) or _WHEEL.fullmatch(name)):
        remedy = "Write a package's name, or a wheel below /home/mind/model/."
        if "://" in name:
            return "package_name", f"{name[:80]!r} is an address, which is not installed", remedy
        return "package_name", f"{name[:80]!r} is not a package name", remedy
    if version and not _VERSION.fullmatch(version):
        return "package_version", f"{version[:80]!r} is not a version", "Write one like 1.2.3."
    if restraint and restraint not in SIGNS:
        return "restraint", f"{restraint[:40]!r} is unknown", "Use EXACT, ATLEAST or ATMOST."
    return None
