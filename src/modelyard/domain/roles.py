"""The roles there are."""

from __future__ import annotations

import hashlib

ADMIN = "admin"
"""On a domain: makes its projects and users. On a project: everything a member may."""

MEMBER = "member"
"""On a project: every action on its services and models."""

ROLES = (ADMIN, MEMBER)


def role_id(name: str) -> str:
    """The id of a role: 32 hex digits that never change."""
    return hashlib.sha256(f"role:{name}".encode()).hexdigest()[:32]


def role_named(name_or_id: str) -> str | None:
    """The role's name for a name or an id; None when there is no such role."""
    return next((name for name in ROLES if name_or_id in (name, role_id(name))), None)


def role_document(name: str) -> dict[str, str]:
    """A role as tokens and role lists show it (iam.md §1)."""
    return {"id": role_id(name), "name": name}
