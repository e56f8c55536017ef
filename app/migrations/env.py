"""Alembic's entry point: run the revisions on the connection that app/migrate.py passes, all in one transaction."""

from __future__ import annotations

from alembic import context

from app.models import Base

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite supports it; Alembic does not know that app/database.py begins the transactions
    transaction_per_migration=False,
    on_version_apply=attributes["on_version_apply"],
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
