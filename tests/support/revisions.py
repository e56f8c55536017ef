"""The revisions of the application's schema in a checkout: the newest, and more of them."""

from __future__ import annotations

from pathlib import Path

REVISION = '''"""{summary}"""

import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = "{before}"
compatibility = "{compatibility}"


def upgrade() -> None:
{upgrade}
'''
ADD = '    op.add_column("projects", sa.Column("added_by", sa.String(200)))'
DROP = '    op.drop_column("projects", "added_by")'


def newest(checkout: Path) -> str:
    """Return the newest revision that the application ships with."""
    return max(path.name for path in (checkout / "app/migrations/versions").glob("0*.py"))[:4]


def revise(
    checkout: Path,
    number: str,
    operation: str,
    *,
    before: str,
    compatibility: str = "expand",
    summary: str = "Remember who added a project.",
    downgrade: str | None = None,
) -> None:
    """Add a revision to the application of a checkout."""
    values = {"number": number, "before": before, "compatibility": compatibility, "summary": summary}
    text = REVISION.format(upgrade=operation, **values)
    if downgrade:
        text += f"\n\ndef downgrade() -> None:\n{downgrade}\n"
    (checkout / f"app/migrations/versions/{number}_test.py").write_text(text)
