"""Reading a version's ``additional_properties`` (services.md §5.2); pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from modelyard.domain.body_reader import Fields, JsonObject, shown
from modelyard.domain.service.pools import PoolChoice
from modelyard.domain.service.volumes import (
    LogVolume,
    Mount,
    PersistentVolume,
    check_mounts,
    read_logs,
    read_persistent,
)

MEMBERS = (
    "persistent_volumes",
    "log_volume",
    "max_surge",
    "max_unavailable",
    "termination_grace_period_seconds",
    "shadow",
)
MAX_GRACE_S = 3600
_HINT = f"Send {', '.join(MEMBERS)}."
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VersionProperties:
    """``sent``: the map as it came, to be echoed; the rest None or empty where nothing is said."""

    sent: JsonObject | None = None
    max_surge: float | None = None
    max_unavailable: float | None = None
    grace_s: int | None = None
    shadow: int | None = None
    persistent_volumes: tuple[PersistentVolume, ...] = ()
    log_volumes: tuple[LogVolume, ...] = ()


def read_properties(version: Fields, choice: PoolChoice, weight: int | None) -> VersionProperties:
    """The map, its members flat or one level down; volumes need the version's pool.

    ``weight``: the version's, as far as it is known.
    """
    whole = version.mapping("additional_properties")
    if whole is None:
        return VersionProperties()
    groups = _groups(whole, version.name("additional_properties"), version)
    persistent, logs = _volumes(groups, choice)
    return VersionProperties(
        sent=whole,
        max_surge=_once(groups, "max_surge", _surge),
        max_unavailable=_once(groups, "max_unavailable", _unavailable),
        grace_s=_once(groups, "termination_grace_period_seconds", _grace),
        shadow=_once(groups, "shadow", lambda fields, key: _shadow(fields, key, weight)),
        persistent_volumes=persistent,
        log_volumes=logs,
    )


def _groups(whole: JsonObject, path: str, version: Fields) -> list[Fields]:
    problems = version.problems
    flat = {key: value for key, value in whole.items() if key in MEMBERS}
    groups = [Fields(flat, path, problems)]
    for key, value in whole.items():
        if key in MEMBERS:
            continue
        name = f"{path}.{key[:64]}"
        if not isinstance(value, dict):
            problems.invalid(name, "is not a known member", _HINT)
            continue
        group = Fields(value, name, problems)
        group.only(MEMBERS, _HINT)
        groups.append(group)
    return groups


def _once(groups: list[Fields], key: str, read: Callable[[Fields, str], T | None]) -> T | None:
    """The member ``key`` of the one group that has it."""
    having = [group for group in groups if group.has(key)]
    for group in having[1:]:
        group.problems.invalid(group.name(key), "is set twice", "Send it once.")
    return read(having[0], key) if having else None


def _surge(fields: Fields, key: str) -> float | None:
    value = _share_or_count(fields, key)
    if value == 0:
        fields.problems.invalid(
            fields.name(key), "is 0", "Send a fraction below 1 or a count from 1 on."
        )
    return value


def _unavailable(fields: Fields, key: str) -> float | None:
    return _share_or_count(fields, key)


def _share_or_count(fields: Fields, key: str) -> float | None:
    """Below 1 a fraction of the instances, from 1 on a count of them, which is whole."""
    value = fields.number(key, low=0)
    if value is not None and value > 1 and value != int(value):
        fields.problems.invalid(
            fields.name(key),
            f"{shown(value)} is no whole count",
            "Send a fraction below 1 or a whole count from 1 on.",
        )
        return None
    return value


def _grace(fields: Fields, key: str) -> int | None:
    return fields.integer(key, low=0, high=MAX_GRACE_S)


def _shadow(fields: Fields, key: str, weight: int | None) -> int | None:
    percent = fields.integer(key, low=1, high=100)
    if percent is not None and weight:
        fields.problems.invalid(
            fields.name(key),
            f"the version answers predictions itself (weight {weight})",
            "Send weight 0 with it, or leave it out.",
        )
    return percent


def _volumes(
    groups: list[Fields], choice: PoolChoice
) -> tuple[tuple[PersistentVolume, ...], tuple[LogVolume, ...]]:
    persistent: list[PersistentVolume] = []
    logs: list[LogVolume] = []
    mounts: list[Mount] = []
    for group in groups:
        if not choice.speaks and _refused_without_pool(group):
            continue
        volumes, places = read_persistent(group)
        persistent += volumes
        mounts += places
        log_volumes, places = read_logs(group)
        logs += log_volumes
        mounts += places
    check_mounts(groups[0].path, mounts, groups[0].problems)
    return tuple(persistent), tuple(logs)


def _refused_without_pool(group: Fields) -> bool:
    refused = False
    for key in ("persistent_volumes", "log_volume"):
        if group.array(key):
            refused = True
            group.problems.invalid(
                group.name(key), "takes effect only in a dedicated resource pool", "Leave it out."
            )
    return refused
