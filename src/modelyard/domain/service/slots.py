"""Slots: which version takes over from which when a service gets new versions; pure.

A slot is one place among a service's versions. A version keeps its slot from revision to
revision; a model that is new takes the slot of one that leaves. Instances of one slot replace
each other within its surge, and share its weight meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from modelyard.domain.service.config import VersionConfig


def assign_slots(
    before: Sequence[VersionConfig], after: Sequence[VersionConfig]
) -> tuple[VersionConfig, ...]:
    """``after`` with slots, given the configuration that it follows (empty at creation).

    >>> [v.slot for v in assign_slots((), (VersionConfig("a", "f", 1, 100),))]
    ['a']
    """
    stay = {version.model_id: version.slot for version in before}
    kept = {stay[v.model_id] for v in after if v.model_id in stay}
    free = (v.slot for v in before if v.slot not in kept)
    taken = kept | {v.slot for v in before}
    return tuple(_with_slot(version, stay, free, taken) for version in after)


def _with_slot(
    version: VersionConfig, stay: dict[str, str], free: Iterator[str], taken: set[str]
) -> VersionConfig:
    slot = stay.get(version.model_id) or next(free, None) or _unused(version.model_id, taken)
    taken.add(slot)
    return replace(version, slot=slot)


def _unused(name: str, taken: set[str]) -> str:
    number = 1
    slot = name
    while slot in taken:
        number += 1
        slot = f"{name}.{number}"
    return slot
