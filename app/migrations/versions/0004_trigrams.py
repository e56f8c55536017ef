"""an index of Postgres to search names and addresses by"""

from __future__ import annotations

import logging

from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
# "expand": the release before this revision can run on it. Anything else, or nothing, means it cannot.
compatibility = "expand"

INDEX = "ix_projects_name_url_trigrams"
log = logging.getLogger(__name__)


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":  # SQLite has 0003
        return
    try:
        with op.get_bind().begin_nested():
            op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            trigrams = {"name": "gin_trgm_ops", "url": "gin_trgm_ops"}
            op.create_index(INDEX, "projects", ["name", "url"], postgresql_using="gin", postgresql_ops=trigrams)
    except DBAPIError as error:  # it is the server's to have the extension, and its administrator's to allow it
        log.warning("a search reads every project, since there is no pg_trgm: %s", str(error.orig).splitlines()[0])


def downgrade() -> None:
    op.drop_index(INDEX, "projects", if_exists=True)
