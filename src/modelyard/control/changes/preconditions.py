"""The conditions of a change (``If-Match``, a key, a plan token) and the answer to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from modelyard.control.changes.idempotency import Call
from modelyard.errors import PreconditionFailed
from modelyard.store.tables.service import Service

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conditions:
    """``if_match``: entity tags, one of which must be the service's; None: any state will do.

    ``plan_token``: of a preview whose plan must still be the one that would be carried out.
    """

    if_match: frozenset[str] | None = None
    call: Call | None = None
    plan_token: str | None = None


UNCONDITIONAL = Conditions()


def etag(generation: int) -> str:
    """Return the entity tag of a service; it is another one after every accepted change."""
    return f'"{generation}"'


def require_match(service: Service, if_match: frozenset[str] | None) -> None:
    """Raises ``PreconditionFailed`` when the service was changed meanwhile."""
    present = etag(service.generation)
    if if_match is None or present in if_match:
        return
    raise PreconditionFailed(
        f"If-Match: the service was changed meanwhile, its ETag is {present} now. Show it, "
        "decide again, and send that tag.",
        field="If-Match",
    )


@dataclass(frozen=True, slots=True)
class Accepted:
    """A change that was written down.

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
        """Return it as kept for calls that are repeated."""
        return {
            "service_id": self.service_id,
            "generation": self.generation,
            "at": self.at,
            "revision": self.revision,
            "deploys": list(self.deploys),
        }

    @classmethod
    def replay(cls, kept: Mapping[str, Any]) -> Self:
        """Return the first answer again."""
        return cls(
            service_id=kept["service_id"],
            generation=kept["generation"],
            at=kept["at"],
            revision=kept["revision"],
            deploys=tuple(kept["deploys"]),
            replayed=True,
        )
