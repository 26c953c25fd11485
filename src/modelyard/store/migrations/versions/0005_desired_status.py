"""desired status and since when: what was called wanted and wished_at

Columns are renamed, never dropped and added: no table is rebuilt (see 0002) and no value moves.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    # Plain SQL: in batch mode Alembic would rebuild the table for SQLite.
    op.execute("ALTER TABLE service RENAME COLUMN wanted TO desired_status")
    op.execute("ALTER TABLE service RENAME COLUMN wished_at TO desired_since")


def downgrade() -> None:
    raise NotImplementedError("Restore a backup made before the upgrade instead.")
