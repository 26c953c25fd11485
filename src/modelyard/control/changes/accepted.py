"""What became of a wish that was written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A wish that was written down.

    ``generation``: of the service after it. ``at`` (ms) and ``revision``: when which configuration
    was accepted, ``deploys``: the fingerprint of each version in it; empty when it was left alone.
    ``replayed``: this is the first answer to an equal call.
    """

    service_id: str
    generation: int
    at: int | None = None
    revision: int | None = None
    deploys: tuple[str, ...] = ()
    replayed: bool = False

    def to_json(self) -> JsonObject:
        """As kept for calls that are repeated."""
        return {
            "service_id": self.service_id,
            "generation": self.generation,
            "at": self.at,
            "revision": self.revision,
            "deploys": list(self.deploys),
        }

    @classmethod
    def replay(cls, kept: Mapping[str, Any]) -> Self:
        """The first answer again."""
        return cls(
            service_id=kept["service_id"],
            generation=kept["generation"],
            at=kept["at"],
            revision=kept["revision"],
            deploys=tuple(kept["deploys"]),
            replayed=True,
        )
