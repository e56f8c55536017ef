"""tags, archive, scan history, scoped tokens"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
# "expand": the previous release can run on this revision. Any other value, or none, means that it cannot.
compatibility = "expand"

TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ORDERS = ("id", "name", "last_commit_at", "commits", "scanned_at")


def found() -> list[sa.Column[Any]]:
    """Return the columns for a scan's results: in a project those of its last successful scan, in `scans` of each."""
    return [sa.Column("files", sa.Integer), sa.Column("size_bytes", sa.BigInteger), sa.Column("todos", sa.Integer)]


def upgrade() -> None:
    # Columns that must not be null have a default, because the previous release does not set them.
    added: list[sa.Column[Any]] = [
        sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("scan_failures", sa.Integer, nullable=False, server_default="0"),
        *found(),
        sa.Column("language", sa.String(50)),
        sa.Column("license", sa.String(50)),
        sa.Column("activity", sa.JSON),
        sa.Column("languages", sa.JSON),
        sa.Column("manifests", sa.JSON),
    ]
    for column in added:
        op.add_column("projects", column)
    for order in ORDERS:
        op.create_index(f"ix_projects_archived_{order}", "projects", ["archived", order])
    op.create_table(
        "project_tags",
        sa.Column("project_id", NUMBER, sa.ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag", sa.String(50), primary_key=True),
    )
    op.create_index("ix_project_tags_tag", "project_tags", ["tag", "project_id"])
    op.create_table(
        "scans",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("project_id", NUMBER, sa.ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=False),
        sa.Column("error", sa.String(500)),
        sa.Column("last_commit", sa.String(64)),
        sa.Column("commits", sa.Integer),
        sa.Column("contributors", sa.Integer),
        *found(),
    )
    op.create_index("ix_scans_project_id", "scans", ["project_id", "id"])
    op.add_column("tokens", sa.Column("scope", sa.String(10), nullable=False, server_default="write"))
    op.add_column("tokens", sa.Column("expires_at", TIME))
    op.create_index("ix_job_runs_job_id", "job_runs", ["job", "id"])
    op.create_index("ix_job_runs_outcome_id", "job_runs", ["outcome", "id"])


def downgrade() -> None:
    for index in ("ix_job_runs_outcome_id", "ix_job_runs_job_id"):
        op.drop_index(index, "job_runs")
    for column in ("expires_at", "scope"):
        op.drop_column("tokens", column)
    for table in ("scans", "project_tags"):
        op.drop_table(table)
    for order in ORDERS:
        op.drop_index(f"ix_projects_archived_{order}", "projects")
    columns = ("manifests", "languages", "activity", "license", "language", "todos", "size_bytes", "files")
    for column in (*columns, "scan_failures", "archived"):
        op.drop_column("projects", column)
