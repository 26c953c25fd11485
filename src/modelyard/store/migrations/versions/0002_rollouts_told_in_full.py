"""rollouts told in full: slots, policies of revisions, reports, tags, kept answers

Columns are added one by one, never by rebuilding a table: SQLite would take the rows that refer
to a rebuilt table for orphans and delete them.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    _new_tables()
    for table, column in _new_columns():
        op.add_column(table, column)
    op.execute("UPDATE instance SET slot = model_id")
    op.execute("UPDATE instance SET served_at = since WHERE served")
    op.execute(
        "UPDATE revision SET policy = "
        "(SELECT policy FROM service WHERE service.id = revision.service_id)"
    )
    op.execute(
        "INSERT INTO serving_period (service_id, since, revision) "
        "SELECT id, publish_at, serving_revision FROM service WHERE serving_revision IS NOT NULL"
    )
    unreported = sa.text("report IS NULL AND (closed_at IS NULL OR closed_at > update_time)")
    op.create_index(
        "ix_update_log_unreported",
        "update_log",
        ["closed_at"],
        sqlite_where=unreported,
        postgresql_where=unreported,
    )
    op.drop_column("service", "policy")
    op.drop_column("instance", "served")


def _new_tables() -> None:
    op.create_table(
        "idempotent_call",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("answer", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "user_id", "key", name=op.f("pk_idempotent_call")),
    )
    op.create_index(op.f("ix_idempotent_call_created_at"), "idempotent_call", ["created_at"])
    op.create_table(
        "service_tag",
        sa.Column("service_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["service_id"],
            ["service.id"],
            name=op.f("fk_service_tag_service_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("service_id", "key", name=op.f("pk_service_tag")),
    )
    op.create_index("ix_service_tag_key_value", "service_tag", ["key", "value"])
    op.create_table(
        "serving_period",
        sa.Column("service_id", sa.String(length=36), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["service_id"],
            ["service.id"],
            name=op.f("fk_serving_period_service_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("service_id", "since", name=op.f("pk_serving_period")),
    )


def _new_columns() -> list[tuple[str, sa.Column[Any]]]:
    text, number, millis = sa.String(length=64), sa.Integer(), sa.BigInteger()
    return [
        ("instance", sa.Column("slot", text, server_default="", nullable=False)),
        ("instance", sa.Column("ready_at", millis)),
        ("instance", sa.Column("served_at", millis)),
        (
            "revision",
            sa.Column("policy", sa.String(length=32), server_default="ROUND_ROBIN", nullable=False),
        ),
        ("revision", sa.Column("rollout", DOCUMENT)),
        ("revision", sa.Column("origin", number)),
        ("service", sa.Column("cluster_id", text, server_default="", nullable=False)),
        ("service", sa.Column("pool_name", text, server_default="", nullable=False)),
        ("service", sa.Column("priority", number, server_default="1", nullable=False)),
        ("service", sa.Column("secrets", DOCUMENT, server_default="[]", nullable=False)),
        ("service", sa.Column("kept_revision", number)),
        ("service", sa.Column("kept_until", millis)),
        ("service", sa.Column("rollout_step", number, server_default="0", nullable=False)),
        ("service", sa.Column("rollout_since", millis)),
        ("service", sa.Column("rollout_rejected", sa.Text(), server_default="", nullable=False)),
        ("update_log", sa.Column("published", DOCUMENT, server_default="[]", nullable=False)),
        ("update_log", sa.Column("report", DOCUMENT)),
    ]


def downgrade() -> None:
    raise NotImplementedError("Restore a backup made before the upgrade instead.")
