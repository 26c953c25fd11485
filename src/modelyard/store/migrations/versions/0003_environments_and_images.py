"""environments of packages, what checks found, images

Columns are added one by one, never by rebuilding a table (see 0002).
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    for column in (
        sa.Column("environment", sa.String(length=64), server_default="", nullable=False),
        sa.Column("findings", DOCUMENT, server_default="[]", nullable=False),
        sa.Column("image", sa.Text(), server_default="", nullable=False),
        sa.Column("container", DOCUMENT, server_default="{}", nullable=False),
    ):
        op.add_column("model", column)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup made before the upgrade instead.")
