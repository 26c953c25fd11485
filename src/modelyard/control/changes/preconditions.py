"""What a caller ties a change to: ``If-Match``, ``Idempotency-Key``, a plan token (ours)."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.control.changes.idempotency import Call
from modelyard.errors import PreconditionFailed
from modelyard.store.tables.service import Service


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
    """The entity tag of a service; every accepted change gives it another one."""
    return f'"{generation}"'


def require_match(service: Service, if_match: frozenset[str] | None) -> None:
    """Raises ``PreconditionFailed`` when somebody has changed the service meanwhile."""
    present = etag(service.generation)
    if if_match is None or present in if_match:
        return
    raise PreconditionFailed(
        f"If-Match: the service was changed meanwhile, its ETag is {present} now. Show it, "
        "decide again, and send that tag.",
        field="If-Match",
    )
