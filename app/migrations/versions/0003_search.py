"""an index to search names and addresses by"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
# "expand": the release before this revision can run on it. Anything else, or nothing, means it cannot.
compatibility = "expand"

INDEX = "ix_projects_archived_id_name_url"


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":  # in Postgres it would not hold what is long
        op.create_index(INDEX, "projects", ["archived", "id", "name", "url"])


def downgrade() -> None:
    op.drop_index(INDEX, "projects", if_exists=True)
