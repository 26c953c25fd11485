"""Documents of the identity API (iam.md §1, §2), in Keystone's form; pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from modelyard.domain.roles import role_document
from modelyard.iam.claims import Claims
from modelyard.store.tables.iam import Project, User

Document = dict[str, Any]


def iso(seconds: int) -> str:
    """Seconds since 1970 as Keystone writes times: ``2026-01-02T03:04:05.000000Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def token_document(claims: Claims, methods: list[str], catalog: list[Document]) -> Document:
    """The body that goes with a token."""
    domain = {"id": claims.domain_id, "name": claims.domain_name}
    token: Document = {
        "issued_at": iso(claims.issued_at),
        "expires_at": iso(claims.expires_at),
        "methods": methods,
        "audit_ids": [claims.token_id],
        "user": {"id": claims.user_id, "name": claims.user_name, "domain": domain},
    }
    if claims.project_id is not None:
        token["project"] = {"id": claims.project_id, "name": claims.project_name, "domain": domain}
    elif claims.roles:
        token["domain"] = domain
    if claims.roles:
        token["roles"] = [role_document(role) for role in claims.roles]
    token["catalog"] = catalog
    return {"token": token}


def project_document(project: Project, address: str) -> Document:
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": project.domain_id,
        "is_domain": False,
        "parent_id": project.domain_id,
        "description": project.description,
        "enabled": project.enabled,
        "links": {
            "self": f"{address}/v3/projects/{project.id}",
            "next": None,
            "previous": None,
        },
    }


def user_document(user: User, address: str) -> Document:
    return {
        "id": user.id,
        "name": user.name,
        "domain_id": user.domain_id,
        "enabled": user.enabled,
        "password_expires_at": None,
        "links": {"self": f"{address}/v3/users/{user.id}"},
    }
