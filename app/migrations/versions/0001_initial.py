"""projects, tokens, job runs, leases"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
# "expand": the previous release can run on this revision. Any other value, or none, means that it cannot.
compatibility = "expand"

TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("url", sa.String(1000), nullable=False, unique=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("scan_due_at", TIME, nullable=False, index=True),
        sa.Column("scanned_at", TIME),
        sa.Column("scan_error", sa.String(500)),
        sa.Column("last_commit", sa.String(64)),
        sa.Column("last_commit_at", TIME),
        sa.Column("commits", sa.Integer),
        sa.Column("contributors", sa.Integer),
    )
    op.create_table(
        "tokens",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_table(
        "job_runs",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("job", sa.String(50), nullable=False),
        sa.Column("worker", sa.String(200), nullable=False),
        sa.Column("release", sa.String(200), nullable=False),
        sa.Column("project_id", NUMBER, sa.ForeignKey("projects.id", ondelete="CASCADE"), index=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=False),
        sa.Column("outcome", sa.String(50), nullable=False),
    )
    op.create_index("ix_job_runs_job_finished_at", "job_runs", ["job", "finished_at"])
    op.create_table(
        "leases",
        sa.Column("job", sa.String(50), primary_key=True),
        sa.Column("worker", sa.String(200), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
    )


def downgrade() -> None:
    for table in ("leases", "job_runs", "tokens", "projects"):
        op.drop_table(table)
