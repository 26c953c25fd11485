"""Control groups: where ours may lie on this machine, and what is written into them; no effects.

One folder ``modelyard-<node>-<home>`` for the platform, below it one per instance. In version 2
that is one tree for all controllers, in version 1 one tree each. ``runtime/limits/groups.py`` makes
and removes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

CONTROLLERS = ("cpu", "memory", "pids")
_PERIOD_US = 100_000
_LEAST_QUOTA_US = 1_000
_MB = 1024 * 1024


class Kind(StrEnum):
    """What holds instances to their flavour."""

    V2 = "cgroup v2"
    V1 = "cgroup v1"
    RLIMITS = "rlimits"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted cgroup hierarchy. ``root``: which of its groups is what lies at ``place``."""

    place: Path
    root: PurePosixPath
    controllers: frozenset[str]
    is_v2: bool


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups may be made: folders that hold them, without repetition."""

    kind: Kind
    folders: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Quota:
    """``cpu`` in cores, ``memory_mb`` in MB, ``pids``: processes and threads."""

    cpu: float
    memory_mb: int
    pids: int


def parse_mounts(mountinfo: str) -> list[Mount]:
    """The cgroup hierarchies in ``/proc/self/mountinfo``."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        found.append(
            Mount(
                Path(_unescaped(fields[4])),
                PurePosixPath(_unescaped(fields[3])),
                frozenset(kind[2].split(",")),
                kind[0] == "cgroup2",
            )
        )
    return found


def _unescaped(text: str) -> str:
    """The kernel writes blanks and the like as three octal digits."""
    return text.encode().decode("unicode_escape") if "\\" in text else text


def parse_membership(text: str) -> Mapping[str, PurePosixPath]:
    """Controller → our own group, of ``/proc/self/cgroup``; version 2 under an empty name."""
    found = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(","):
            found[name] = PurePosixPath(path)
    return found


def own_folder(mount: Mount, own: PurePosixPath) -> Path:
    """Where our own group ``own`` is seen; the mount itself when it lies outside of that."""
    if own.is_relative_to(mount.root):
        return mount.place / own.relative_to(mount.root)
    return mount.place


def v1_hierarchy(
    mounts: Iterable[Mount], membership: Mapping[str, PurePosixPath]
) -> Hierarchy | None:
    """Our own groups of all three controllers in version 1; None when one is missing."""
    folders: dict[Path, None] = {}
    for controller in CONTROLLERS:
        mount = next((m for m in mounts if not m.is_v2 and controller in m.controllers), None)
        if mount is None or controller not in membership:
            return None
        folders[own_folder(mount, membership[controller])] = None
    return Hierarchy(Kind.V1, tuple(folders))


def v2_folders(
    mounts: Iterable[Mount], membership: Mapping[str, PurePosixPath]
) -> tuple[Path, Path] | None:
    """Our own group in version 2, and the top of its tree; None when it is not mounted."""
    mount = next((m for m in mounts if m.is_v2), None)
    if mount is None or "" not in membership:
        return None
    return own_folder(mount, membership[""]), mount.place


def settings_of(folder: Path, kind: Kind, quota: Quota) -> list[tuple[Path, str]]:
    """The files of a group at ``folder`` that hold it to ``quota``, in their order.

    A file of a controller that this hierarchy has not, or of swap on a machine without, is missing
    in the folder.
    """
    quota_us = max(_LEAST_QUOTA_US, round(quota.cpu * _PERIOD_US))
    memory = str(quota.memory_mb * _MB)
    if kind is Kind.V2:
        texts = {
            "cpu.max": f"{quota_us} {_PERIOD_US}",
            "memory.max": memory,
            "memory.swap.max": "0",
            "pids.max": str(quota.pids),
        }
    else:
        texts = {
            "cpu.cfs_period_us": str(_PERIOD_US),
            "cpu.cfs_quota_us": str(quota_us),
            "memory.limit_in_bytes": memory,
            # With swap counted in, too. Never below the one before, so after it.
            "memory.memsw.limit_in_bytes": memory,
            "pids.max": str(quota.pids),
        }
    return [(folder / name, text) for name, text in texts.items()]
