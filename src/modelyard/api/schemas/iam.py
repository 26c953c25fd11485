"""Bodies and answers of the identity API (iam.md §1, §2), in Keystone's form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from modelyard.api.schemas.base import ResponseModel

# No control characters: databases and terminals dislike them alike.
Text = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
]


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
    methods: list[str] = Field(
        min_length=1,
        max_length=4,
        # Others are refused in words.
        json_schema_extra={"items": {"enum": ["password", "token"]}, "maxItems": 1},
    )
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


class NamedRef(ResponseModel):
    """Something by id and name."""

    id: str
    name: str


class TokenUser(NamedRef):
    """Whose token it is."""

    domain: NamedRef


class TokenProject(NamedRef):
    """The project that a token is for."""

    domain: NamedRef


class CatalogEndpoint(ResponseModel):
    """Where a service is."""

    id: str
    interface: str
    region: str
    region_id: str
    url: str


class CatalogEntry(ResponseModel):
    """A service of the catalogue."""

    id: str
    name: str
    type: str
    endpoints: list[CatalogEndpoint]


class Token(ResponseModel):
    """What a token says."""

    issued_at: str = Field(examples=["2026-01-02T03:04:05.000000Z"])
    expires_at: str
    methods: list[str]
    audit_ids: list[str]
    user: TokenUser
    project: TokenProject | None = None
    domain: NamedRef | None = None
    roles: list[NamedRef] | None = None
    catalog: list[CatalogEntry]


class TokenResponse(ResponseModel):
    """A token's content; the token itself is in the header ``X-Subject-Token``."""

    token: Token


class Links(ResponseModel):
    """Where a list is."""

    self: str
    next: str | None
    previous: str | None


class SelfLink(ResponseModel):
    """Where a thing is."""

    self: str


class CatalogResponse(ResponseModel):
    """The service catalogue."""

    catalog: list[CatalogEntry]
    links: SelfLink


class ProjectItem(ResponseModel):
    """A project."""

    id: str
    name: str
    domain_id: str
    is_domain: bool
    parent_id: str
    description: str
    enabled: bool
    links: Links


class ProjectResponse(ResponseModel):
    """One project."""

    project: ProjectItem


class ListProjectsResponse(ResponseModel):
    """Projects."""

    projects: list[ProjectItem]
    links: Links


class UserItem(ResponseModel):
    """A user."""

    id: str
    name: str
    domain_id: str
    enabled: bool
    password_expires_at: str | None
    links: SelfLink


class UserResponse(ResponseModel):
    """One user."""

    user: UserItem


class ListUsersResponse(ResponseModel):
    """Users."""

    users: list[UserItem]
    links: Links


class DomainItem(NamedRef):
    """A domain."""

    enabled: bool
    description: str


class DomainResponse(ResponseModel):
    """One domain."""

    domain: DomainItem


class ListDomainsResponse(ResponseModel):
    """Domains."""

    domains: list[DomainItem]
    links: Links


class RoleResponse(ResponseModel):
    """One role."""

    role: NamedRef


class ListRolesResponse(ResponseModel):
    """Roles."""

    roles: list[NamedRef]
    links: Links


class KeyItem(ResponseModel):
    """A signing key."""

    id: str


class SigningKeysResponse(ResponseModel):
    """Extension: the keys that sign and verify tokens."""

    keys: list[KeyItem]
