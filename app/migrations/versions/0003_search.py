"""an index for searching names and addresses"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
# "expand": the previous release can run on this revision. Any other value, or none, means that it cannot.
compatibility = "expand"

INDEX = "ix_projects_archived_id_name_url"


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":  # a Postgres index cannot hold long values
        op.create_index(INDEX, "projects", ["archived", "id", "name", "url"])


def downgrade() -> None:
    op.drop_index(INDEX, "projects", if_exists=True)
