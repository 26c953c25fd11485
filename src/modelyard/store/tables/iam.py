"""Access control: domains, projects, users, role assignments, access keys (iam.md §1 to §4)."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.store.tables.base import Millis, Table


class Domain(Table):
    """An account: owns projects and users."""

    __tablename__ = "iam_domain"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[int] = mapped_column(Millis)


class Project(Table):
    """What services and models belong to; ``id`` is 32 hex digits."""

    __tablename__ = "iam_project"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    domain_id: Mapped[str] = mapped_column(ForeignKey("iam_domain.id"))
    name: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(String(255), default="")
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[int] = mapped_column(Millis)


class User(Table):
    """A person or program with a password; ``password_hash`` is Argon2's encoded form."""

    __tablename__ = "iam_user"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    domain_id: Mapped[str] = mapped_column(ForeignKey("iam_domain.id"))
    name: Mapped[str] = mapped_column(String(64))
    password_hash: Mapped[str] = mapped_column(Text)
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[int] = mapped_column(Millis)


class RoleAssignment(Table):
    """``user_id`` has ``role`` on the project or domain ``scope_id``.

    ``scope_type`` is ``project`` or ``domain``. Administration asks for ``admin`` on the domain; a
    project's ``admin`` cannot make users.
    """

    __tablename__ = "iam_role_assignment"

    user_id: Mapped[str] = mapped_column(
        ForeignKey("iam_user.id", ondelete="CASCADE"), primary_key=True
    )
    scope_type: Mapped[str] = mapped_column(String(8), primary_key=True)
    scope_id: Mapped[str] = mapped_column(String(32), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)


class AccessKey(Table):
    """A key pair for signed requests (iam.md §3); signatures need the secret as it is."""

    __tablename__ = "iam_access_key"

    access_key: Mapped[str] = mapped_column(String(32), primary_key=True)
    secret_key: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str] = mapped_column(ForeignKey("iam_user.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[int] = mapped_column(Millis)
