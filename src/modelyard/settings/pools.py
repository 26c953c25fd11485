"""Dedicated resource pools as the operator declares them in ``MODELYARD_POOLS``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from modelyard.domain.service.pools import STATES, Generation, Pool, PoolRef
from modelyard.domain.service.resources import Resources

_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_NodeName = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class NodeSettings(BaseModel):
    """One node. ``name``: its private address, by which affinity names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _NodeName


class PoolSettings(BaseModel):
    """One pool: cores, MB, cards and chips that its services share.

    ``generation``: ``v1`` pools are named by ``cluster_id``, ``v2`` pools by ``pool_name``.
    ``created_at``: ms since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: _Id
    name: str = ""
    generation: Generation = Generation.V2
    state: str = ""
    cpu: float = Field(ge=0)
    memory_mb: int = Field(ge=0)
    gpu: float = Field(default=0, ge=0)
    npu: int = Field(default=0, ge=0)
    nodes: tuple[NodeSettings, ...] = ()
    description: str = ""
    created_at: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        known = STATES[self.generation]
        if self.state and self.state.lower() not in {state.lower() for state in known}:
            raise ValueError(f"state of pool {self.id} must be one of {', '.join(known)}")
        names = [node.name for node in self.nodes]
        if len(set(names)) < len(names):
            raise ValueError(f"pool {self.id} names a node twice")
        return self

    def pool(self) -> Pool:
        """The pool as the core knows it; one without a state is running."""
        wanted = (self.state or "running").lower()
        state = next(state for state in STATES[self.generation] if state.lower() == wanted)
        return Pool(
            ref=PoolRef(self.id, self.generation),
            name=self.name or self.id,
            state=state,
            capacity=Resources(self.cpu, self.memory_mb, self.gpu, self.npu),
            nodes=tuple(node.name for node in self.nodes),
            description=self.description,
            created_at=self.created_at,
        )


def distinct(pools: Sequence[PoolSettings]) -> None:
    """Raises ``ValueError`` when two pools of one generation share an id."""
    seen: set[tuple[str, Generation]] = set()
    for pool in pools:
        if (pool.id, pool.generation) in seen:
            raise ValueError(f"pool {pool.id} of {pool.generation.value} is there twice")
        seen.add((pool.id, pool.generation))


def read_list(value: Any) -> Any:
    """A list of pools out of its JSON text; anything else as it is. Raises ``ValueError``."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else ()
    except ValueError as error:
        raise ValueError(f"is not a JSON list of pools: {error}") from None


def write_list(pools: Sequence[PoolSettings]) -> str:
    """The inverse of ``read_list``."""
    return json.dumps([pool.model_dump(mode="json", exclude_defaults=True) for pool in pools])
