"""Wire shapes of the identity API (iam.md §1, §2), in Keystone's form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from modelyard.domain.roles import role_document
from modelyard.iam.claims import Claims
from modelyard.store.tables.iam import Project, User

# No control characters: databases and terminals dislike them alike.
Text = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Document = dict[str, Any]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore")


class DomainRef(_Shape):
    id: Text | None = None
    name: Text | None = None


class PasswordUser(_Shape):
    id: Text | None = None
    name: Text | None = None
    domain: DomainRef | None = None
    password: str = Field(max_length=1024)


class PasswordMethod(_Shape):
    user: PasswordUser


class TokenMethod(_Shape):
    id: str = Field(max_length=16 * 1024)


class Identity(_Shape):
    methods: list[str] = Field(min_length=1, max_length=4)
    password: PasswordMethod | None = None
    token: TokenMethod | None = None


class ProjectRef(_Shape):
    id: Text | None = None
    name: Text | None = None
    domain: DomainRef | None = None


class Scope(_Shape):
    project: ProjectRef | None = None
    domain: DomainRef | None = None
    unscoped: dict[str, Any] | None = None
    system: dict[str, Any] | None = None


class Auth(_Shape):
    identity: Identity
    scope: Scope | Literal["unscoped"] | None = None


class AuthRequest(_Shape):
    """Body of ``POST /v3/auth/tokens``."""

    auth: Auth


class NewProject(BaseModel):
    """What can be said of a new project; anything else is refused by name."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    domain_id: Text | None = None
    description: Text | None = None
    enabled: bool = True
    is_domain: Literal[False] = False
    parent_id: Text | None = None


class NewProjectRequest(_Shape):
    project: NewProject


class NewUser(BaseModel):
    """What can be said of a new user; anything else is refused by name."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    password: str = Field(min_length=8, max_length=1024)
    domain_id: Text | None = None
    enabled: bool = True


class NewUserRequest(_Shape):
    user: NewUser


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
