"""Who calls: what a token says once it has been verified."""

from __future__ import annotations

from dataclasses import dataclass

ISSUER = "modelyard"
"""``iss`` of every token, and what Envoy's provider expects."""


@dataclass(frozen=True, slots=True)
class Claims:
    """A token's content (iam.md §1). Times are seconds since 1970; ids are 32 hex digits.

    As a JWT: ``iss``, ``sub`` (user id), ``iat``, ``nbf``, ``exp``, ``jti``, ``user`` (name),
    ``domain`` ``{id, name}``, ``project`` ``{id, name}`` (absent for a domain scope), ``roles``
    ``[name]``. Envoy compares ``project.id`` with the service's project.
    """

    user_id: str
    user_name: str
    domain_id: str
    domain_name: str
    project_id: str | None
    project_name: str | None
    roles: tuple[str, ...]
    issued_at: int
    expires_at: int
    token_id: str
