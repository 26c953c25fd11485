"""the first schema"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "iam_domain",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_domain")),
        sa.UniqueConstraint("name", name=op.f("uq_iam_domain_name")),
    )
    op.create_table(
        "model",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=8), nullable=False),
        sa.Column("version_order", sa.Integer(), nullable=False),
        sa.Column("model_type", sa.String(length=32), nullable=False),
        sa.Column("runtime", sa.String(length=128), nullable=False),
        sa.Column("description", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("failed_reason", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("source_location", sa.Text(), nullable=False),
        sa.Column("execution_code", sa.Text(), nullable=False),
        sa.Column("source_job_id", sa.String(length=128), nullable=False),
        sa.Column("source_job_version", sa.String(length=128), nullable=False),
        sa.Column("source_type", sa.String(length=16), nullable=False),
        sa.Column("requested", DOCUMENT, nullable=False),
        sa.Column("install_type", DOCUMENT, nullable=False),
        sa.Column("config", DOCUMENT, nullable=False),
        sa.Column("apis", DOCUMENT, nullable=False),
        sa.Column("input_params", DOCUMENT, nullable=False),
        sa.Column("output_params", DOCUMENT, nullable=False),
        sa.Column("dependencies", DOCUMENT, nullable=False),
        sa.Column("health", DOCUMENT, nullable=False),
        sa.Column("model_algorithm", sa.String(length=64), nullable=False),
        sa.Column("model_metrics", DOCUMENT, nullable=False),
        sa.Column("model_docs", DOCUMENT, nullable=False),
        sa.Column("package_dir", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint(
            "project_id", "name", "version", name=op.f("uq_model_project_id_name_version")
        ),
    )
    with op.batch_alter_table("model", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_project_id"), ["project_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_model_status"), ["status"], unique=False)

    op.create_table(
        "service",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("infer_type", sa.String(length=16), nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("additional_properties", DOCUMENT, nullable=True),
        sa.Column("policy", sa.String(length=32), nullable=False),
        sa.Column("schedule", DOCUMENT, nullable=True),
        sa.Column("due_time", sa.BigInteger(), nullable=True),
        sa.Column("wanted", sa.String(length=16), nullable=False),
        sa.Column("desired_revision", sa.Integer(), nullable=False),
        sa.Column("wished_at", sa.BigInteger(), nullable=False),
        sa.Column("given_up", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("serving_revision", sa.Integer(), nullable=True),
        sa.Column("live_revision", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("error_msg", sa.Text(), nullable=False),
        sa.Column("publish_at", sa.BigInteger(), nullable=False),
        sa.Column("transition_at", sa.BigInteger(), nullable=False),
        sa.Column("operation_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("lock_token", sa.String(length=36), nullable=True),
        sa.Column("lock_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("check_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_service_project_id_name")),
    )
    with op.batch_alter_table("service", schema=None) as batch_op:
        batch_op.create_index("ix_service_check_at", ["check_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_service_project_id"), ["project_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_service_status"), ["status"], unique=False)

    op.create_table(
        "counter",
        sa.Column("service_id", sa.String(length=36), nullable=False),
        sa.Column("model_id", sa.String(length=36), nullable=False),
        sa.Column("invocations", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_counter_service_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("service_id", "model_id", name=op.f("pk_counter")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("service_id", sa.String(length=36), nullable=False),
        sa.Column("event_type", sa.String(length=16), nullable=False),
        sa.Column("event_info", sa.Text(), nullable=False),
        sa.Column("occur_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_event_service_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_occur_time"), ["occur_time"], unique=False)
        batch_op.create_index(
            "ix_event_service_id_occur_time", ["service_id", "occur_time"], unique=False
        )

    op.create_table(
        "iam_project",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("domain_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["iam_domain.id"], name=op.f("fk_iam_project_domain_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_project")),
        sa.UniqueConstraint("domain_id", "name", name=op.f("uq_iam_project_domain_id_name")),
    )
    op.create_table(
        "iam_user",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("domain_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["iam_domain.id"], name=op.f("fk_iam_user_domain_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_user")),
        sa.UniqueConstraint("domain_id", "name", name=op.f("uq_iam_user_domain_id_name")),
    )
    op.create_table(
        "instance",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("service_id", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.String(length=36), nullable=False),
        sa.Column("fingerprint", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("grace_ms", sa.Integer(), nullable=False),
        sa.Column("served", sa.Boolean(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("decisive", sa.Boolean(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_instance_service_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
    )
    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.create_index(
            "ix_instance_service_id_ended_at", ["service_id", "ended_at"], unique=False
        )

    op.create_table(
        "model_event",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model_id", sa.String(length=36), nullable=False),
        sa.Column("event_type", sa.String(length=16), nullable=False),
        sa.Column("event_info", sa.Text(), nullable=False),
        sa.Column("occur_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model.id"], name=op.f("fk_model_event_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_event")),
    )
    with op.batch_alter_table("model_event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_event_model_id"), ["model_id"], unique=False)

    op.create_table(
        "revision",
        sa.Column("service_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("config", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["service_id"], ["service.id"], name=op.f("fk_revision_service_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("service_id", "number", name=op.f("pk_revision")),
    )
    op.create_table(
        "update_log",
        sa.Column("service_id", sa.String(length=36), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["service_id"],
            ["service.id"],
            name=op.f("fk_update_log_service_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("service_id", "update_time", name=op.f("pk_update_log")),
    )
    op.create_table(
        "iam_access_key",
        sa.Column("access_key", sa.String(length=32), nullable=False),
        sa.Column("secret_key", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["iam_user.id"], name=op.f("fk_iam_access_key_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("access_key", name=op.f("pk_iam_access_key")),
    )
    with op.batch_alter_table("iam_access_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_iam_access_key_user_id"), ["user_id"], unique=False)

    op.create_table(
        "iam_role_assignment",
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("scope_type", sa.String(length=8), nullable=False),
        sa.Column("scope_id", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["iam_user.id"],
            name=op.f("fk_iam_role_assignment_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "user_id", "scope_type", "scope_id", "role", name=op.f("pk_iam_role_assignment")
        ),
    )
    with op.batch_alter_table("iam_role_assignment", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_iam_role_assignment_scope_id"), ["scope_id"], unique=False
        )

    op.create_table(
        "revision_model",
        sa.Column("service_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["service_id", "number"],
            ["revision.service_id", "revision.number"],
            name=op.f("fk_revision_model_service_id_number"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("service_id", "number", "model_id", name=op.f("pk_revision_model")),
    )
    with op.batch_alter_table("revision_model", schema=None) as batch_op:
        batch_op.create_index("ix_revision_model_model_id", ["model_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("revision_model", schema=None) as batch_op:
        batch_op.drop_index("ix_revision_model_model_id")

    op.drop_table("revision_model")
    with op.batch_alter_table("iam_role_assignment", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_role_assignment_scope_id"))

    op.drop_table("iam_role_assignment")
    with op.batch_alter_table("iam_access_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_iam_access_key_user_id"))

    op.drop_table("iam_access_key")
    op.drop_table("update_log")
    op.drop_table("revision")
    with op.batch_alter_table("model_event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_model_event_model_id"))

    op.drop_table("model_event")
    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.drop_index("ix_instance_service_id_ended_at")

    op.drop_table("instance")
    op.drop_table("iam_user")
    op.drop_table("iam_project")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index("ix_event_service_id_occur_time")
        batch_op.drop_index(batch_op.f("ix_event_occur_time"))

    op.drop_table("event")
    op.drop_table("counter")
    with op.batch_alter_table("service", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_service_status"))
        batch_op.drop_index(batch_op.f("ix_service_project_id"))
        batch_op.drop_index("ix_service_check_at")

    op.drop_table("service")
    with op.batch_alter_table("model", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_model_status"))
        batch_op.drop_index(batch_op.f("ix_model_project_id"))

    op.drop_table("model")
    op.drop_table("iam_domain")
