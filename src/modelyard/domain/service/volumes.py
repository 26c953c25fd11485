"""Volumes and where they are mounted: reading and judging (services.md §5.2); pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from modelyard.domain.body_reader import Fields, Problems

JsonObject = dict[str, Any]

MOUNT_LIMIT = 10
"""Volumes that one version may mount."""

PATH_LIMIT = 1024
NAME_LIMIT = 255
STORAGE_TYPES = ("sfs_turbo",)

_PATH = re.compile(r"/[A-Za-z0-9\\_.\-/]*")
_SYSTEM = ("", "/home", "/root", "/tmp", "/usr", "/var")  # noqa: S108
"""Directories that cannot be mounted over themselves; what is below them can."""

_CLOSED = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin"),
    *("/sys", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/sbin", "/var/lib", "/var/run"),
)
"""Directories that belong to the system with all that is below them."""

_PATH_REMEDY = (
    "Send an absolute path of letters, digits, backslash, '_', '-', '.' and '/', at most "
    f"{PATH_LIMIT} characters long and outside the system's directories."
)


@dataclass(frozen=True, slots=True)
class PersistentVolume:
    """Storage that outlives instances. ``source_address``: the id of the SFS Turbo file system."""

    mount_path: str
    name: str = ""
    storage_type: str = ""
    source_address: str = ""

    def to_json(self) -> JsonObject:
        optional = {
            "name": self.name,
            "storage_type": self.storage_type,
            "source_address": self.source_address,
        }
        return {"mount_path": self.mount_path} | {k: v for k, v in optional.items() if v}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        return cls(**body)


@dataclass(frozen=True, slots=True)
class LogVolume:
    """A directory of the node that takes the instance's logs."""

    host_path: str
    mount_path: str

    def to_json(self) -> JsonObject:
        return {"host_path": self.host_path, "mount_path": self.mount_path}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        return cls(**body)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount path and the field that it stands in, for judging all of a version together."""

    where: str
    path: str


def read_persistent(fields: Fields) -> tuple[list[PersistentVolume], list[Mount]]:
    """``persistent_volumes``; a name is needed unless a storage type is given (§12 row 12)."""
    volumes, mounts = [], []
    for item in fields.objects("persistent_volumes", "Send name and mount_path."):
        known = ("name", "mount_path", "storage_type", "source_address")
        item.only(known, f"Send {', '.join(known)}.")
        kind = item.text("storage_type", choices=STORAGE_TYPES)
        name = item.text("name", limit=NAME_LIMIT, required=not item.has("storage_type"))
        source = item.text("source_address", limit=NAME_LIMIT)
        if item.has("storage_type") and not name and not source:
            item.problems.missing(
                item.name("source_address"), "Name the volume, or the address of its source."
            )
        path = read_path(item, "mount_path")
        if path is not None:
            mounts.append(Mount(item.name("mount_path"), path))
            volumes.append(PersistentVolume(path, name or "", kind or "", source or ""))
    return volumes, mounts


def read_logs(fields: Fields) -> tuple[list[LogVolume], list[Mount]]:
    """``log_volume``; both paths are needed."""
    volumes, mounts = [], []
    for item in fields.objects("log_volume", "Send host_path and mount_path."):
        item.only(("host_path", "mount_path"), "Send host_path and mount_path.")
        host = read_path(item, "host_path")
        path = read_path(item, "mount_path")
        if path is not None:
            mounts.append(Mount(item.name("mount_path"), path))
        if path is not None and host is not None:
            volumes.append(LogVolume(host, path))
    return volumes, mounts


def read_path(fields: Fields, key: str) -> str | None:
    """A path that may be mounted, without a slash at its end; None when it is unusable."""
    path = fields.text(key, required=True, limit=PATH_LIMIT, remedy=_PATH_REMEDY)
    if path is None:
        return None
    reason = _why_not(path)
    if reason:
        fields.problems.invalid(fields.name(key), f"{path[:80]!r} {reason}", _PATH_REMEDY)
        return None
    return path.rstrip("/")


def _why_not(path: str) -> str:
    if not path.startswith("/"):
        return "does not begin with '/'"
    if not _PATH.fullmatch(path):
        return "holds a character that is not allowed"
    bare = path.rstrip("/")
    if bare and any(part in ("", ".", "..") for part in bare[1:].split("/")):
        return "is not in its plain form"
    if bare in _SYSTEM or any(bare == c or bare.startswith(f"{c}/") for c in _CLOSED):
        return "is a directory of the system"
    return ""


def check_mounts(name: str, mounts: Sequence[Mount], problems: Problems) -> None:
    """What only all mounts of a version together can break; ``name``: the map they stand in."""
    if len(mounts) > MOUNT_LIMIT:
        problems.invalid(
            name, f"mounts {len(mounts)} volumes", f"Mount at most {MOUNT_LIMIT} volumes."
        )
        return
    for index, mount in enumerate(mounts):
        for earlier in mounts[:index]:
            if mount.path == earlier.path:
                problems.invalid(
                    mount.where, f"{mount.path[:80]!r} is mounted twice", "Give each its own path."
                )
                break
            if _nested(mount.path, earlier.path):
                problems.invalid(
                    mount.where,
                    f"{mount.path[:80]!r} and {earlier.path[:80]!r} are nested",
                    "Give each a path outside the others.",
                )
                break


def _nested(one: str, other: str) -> bool:
    return one.startswith(f"{other}/") or other.startswith(f"{one}/")
