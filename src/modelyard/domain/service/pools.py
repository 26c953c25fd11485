"""Dedicated resource pools: which one a version runs in (services.md §3.5, resources.md §2, §3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from modelyard.domain.body_reader import Fields, Problems
from modelyard.domain.service.resources import Resources

JsonObject = dict[str, Any]


class Generation(StrEnum):
    """Which kind a pool is: ``V1`` is named by ``cluster_id``, ``V2`` by ``pool_name``."""

    V1 = "v1"
    V2 = "v2"


STATES = {
    Generation.V1: ("deploying", "running", "concerning", "abnormal"),
    Generation.V2: (
        "Creating",
        "Running",
        "Abnormal",
        "Deleting",
        "Error",
        "CreationFailed",
        "ScalingFailed",
        "Waiting",
    ),
}
_USABLE = ("running", "concerning", "Running")
_KEYS = {Generation.V1: "cluster_id", Generation.V2: "pool_name"}
_NOUNS = {Generation.V1: "cluster", Generation.V2: "pool"}
_UNKNOWN = {Generation.V1: "3547", Generation.V2: "50015001"}


@dataclass(frozen=True, slots=True)
class PoolRef:
    """A dedicated pool by its id, which is unique within its generation."""

    id: str
    generation: Generation

    def __str__(self) -> str:
        return f"{_NOUNS[self.generation]} {self.id!r}"

    def to_json(self) -> JsonObject:
        # The store finds the services of a pool by this very text: keep the order of the members.
        return {"id": self.id, "generation": self.generation.value}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        return cls(body["id"], Generation(body["generation"]))


@dataclass(frozen=True, slots=True)
class Pool:
    """One dedicated pool. ``nodes``: names (private addresses) of its nodes, if it lists any."""

    ref: PoolRef
    name: str
    state: str
    capacity: Resources
    nodes: tuple[str, ...] = ()
    description: str = ""
    created_at: int = 0

    @property
    def usable(self) -> bool:
        """Whether services may be deployed to it (resources.md §2, §3)."""
        return self.state in _USABLE


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """What one object of a request says of pools.

    ``cluster_id`` and ``pool_name`` as they were sent (blank: nothing), ``pool`` the one that they
    put in force, ``where`` the field that named it. ``unknown``: a pool was named that does not
    exist, which is already noted.
    """

    cluster_id: str = ""
    pool_name: str = ""
    pool: Pool | None = None
    where: str = ""
    unknown: bool = False

    @property
    def speaks(self) -> bool:
        return self.pool is not None or self.unknown


def read_pools(fields: Fields, pools: Sequence[Pool]) -> PoolChoice:
    """``pool_name`` and ``cluster_id`` of one object; the former wins (services.md §3.5)."""
    sent = {generation: fields.text(_KEYS[generation]) or "" for generation in Generation}
    found = _find(sent, pools)
    for generation, name in sent.items():
        if name.strip() and generation not in found:
            _note_unknown(
                PoolRef(name, generation), fields.name(_KEYS[generation]), fields.problems
            )
    return _choice(sent, found, fields.name)


def remembered_pools(cluster_id: str, pool_name: str, pools: Sequence[Pool]) -> PoolChoice:
    """What a stored service says of pools; one that has vanished meanwhile is ``unknown``."""
    sent = {Generation.V1: cluster_id, Generation.V2: pool_name}
    return _choice(sent, _find(sent, pools), lambda key: key)


def check_usable(choice: PoolChoice, problems: Problems) -> None:
    """Note that the pool in force takes no services now."""
    pool = choice.pool
    if pool is not None and not pool.usable:
        problems.invalid(
            choice.where,
            f"{pool.ref} is {pool.state}",
            "Use a pool that is running, or leave it out for the shared pool.",
        )


def check_present(choice: PoolChoice, problems: Problems) -> None:
    """The same for the pool of a stored service, which may have vanished since."""
    if choice.unknown:
        generation = Generation.V2 if choice.pool_name else Generation.V1
        ref = PoolRef(choice.pool_name or choice.cluster_id, generation)
        _note_unknown(ref, choice.where, problems)
    check_usable(choice, problems)


def unknown_code(ref: PoolRef) -> str:
    """The API's number for a pool that does not exist (services.md §3.5)."""
    return _UNKNOWN[ref.generation]


def _note_unknown(ref: PoolRef, where: str, problems: Problems) -> None:
    problems.invalid(
        where,
        f"{_NOUNS[ref.generation]} {ref.id[:64]!r} does not exist",
        "Leave it out to use the shared pool.",
        unknown_code(ref),
    )


def _find(sent: Mapping[Generation, str], pools: Sequence[Pool]) -> dict[Generation, Pool]:
    return {pool.ref.generation: pool for pool in pools if sent[pool.ref.generation] == pool.ref.id}


def _choice(
    sent: Mapping[Generation, str],
    found: Mapping[Generation, Pool],
    name: Callable[[str], str],
) -> PoolChoice:
    named = [g for g in (Generation.V2, Generation.V1) if sent[g].strip()]
    first = named[0] if named else None
    return PoolChoice(
        cluster_id=sent[Generation.V1].strip(),
        pool_name=sent[Generation.V2].strip(),
        pool=found.get(first) if first else None,
        where=name(_KEYS[first]) if first else "",
        unknown=first is not None and first not in found,
    )
