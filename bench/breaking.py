"""A breaking migration of a large database under load: how long requests wait, and whether any fail.

    python -m bench.breaking

It boots a throwaway host, deploys to it, fills the database, and removes everything at the end. The migration adds a
column and an index computed from the existing data, so it reads and writes the whole table; it is marked as breaking,
so the previous release cannot run with it. Every request that arrives meanwhile waits in the proxy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bench.ledger import load, lost
from bench.site import address, changed_checkout, ppmctl, site
from ppmkit.config.environment import Environment
from ppmkit.paths import KIT, PROJECT

RATE, CONNECTIONS = 200, 40
FILLING = """
from pysqlite3 import dbapi2
connection = dbapi2.connect("/data/ppm.db", timeout=60)
connection.execute("CREATE TABLE IF NOT EXISTS ballast (id INTEGER PRIMARY KEY, number INTEGER, filling BLOB)")
connection.commit()
while connection.execute("PRAGMA page_count").fetchone()[0] * 4096 < {size}:
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) "
        "INSERT INTO ballast (number, filling) SELECT abs(random()), randomblob(2000) FROM n"
    )
    connection.commit()
print(connection.execute("PRAGMA page_count").fetchone()[0] * 4096)
"""
MIGRATION = '''"""Sort the ballast."""

from alembic import op

revision = "9999"
down_revision = "{head}"
compatibility = "breaking"


def upgrade() -> None:
    op.execute("ALTER TABLE ballast ADD COLUMN sorted INTEGER")
    op.execute("UPDATE ballast SET sorted = number / 2")
    op.execute("CREATE INDEX ix_ballast_sorted ON ballast (sorted)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_ballast_sorted")
    op.execute("ALTER TABLE ballast DROP COLUMN sorted")
'''


def run(environment: Environment, checkout: Path, token: str) -> dict[str, Any]:
    """Upgrade to the checkout under load, then roll back; return the figures of the upgrade."""
    url = f"http://{address()}"
    with load(url, token, rate=RATE, connections=CONNECTIONS, slow=False) as running:
        time.sleep(5)
        done = json.loads(ppmctl(checkout, "deploy", "-e", environment.name, "--json"))
        time.sleep(5)
        report = running.stop()
    hold = next(step["outcome"] for step in done["steps"] if step["name"] == "hold")
    migration = re.search(r"in ([0-9.]+) s;", hold)
    assert migration is not None, hold
    missing = asyncio.run(lost(url, token, report.acknowledged))
    for failure in report.failures:
        print(failure, file=sys.stderr)
    # Restored instead of downgraded: this SQLite keeps a statement's undo data in memory, and dropping a column is one
    # statement for the whole table.
    ppmctl(checkout, "rollback", "--restore", "--yes", "-e", environment.name)
    return {
        "requests": report.requests,
        "failed": report.failed,
        "lost": len(missing),
        "migration": float(migration[1]),
        "longest": report.longest / 1000,
        "beyond": report.longest / 1000 - float(migration[1]),
    }


def main() -> None:
    """Print the figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="number of runs; figures are medians (default 3)")
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the database (default 1000)")
    options = parser.parse_args()
    with site() as environment, changed_checkout() as checkout:
        head = sorted(path.name for path in (PROJECT / "app/migrations/versions").glob("0*.py"))[-1][:4]
        (checkout / "app/migrations/versions/9999_sort.py").write_text(MIGRATION.format(head=head))
        execute = ("exec", "-e", environment.name, "api", "--")
        token = ppmctl(KIT, *execute, "ppm", "token", "create", "bench").strip().splitlines()[-1]
        size = ppmctl(KIT, *execute, "python", "-c", FILLING.format(size=options.megabytes * 1_000_000)).strip()
        ppmctl(checkout, "images", "build", "-e", environment.name)
        runs = [run(environment, checkout, token) for _ in range(options.runs)]
    print("| requests | failed | lost writes | migration, s | longest wait, s | beyond the migration, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    median = {key: statistics.median(figures[key] for figures in runs) for key in runs[0]}
    worst = {key: max(figures[key] for figures in runs) for key in ("failed", "lost")}
    print(
        f"| {median['requests']:,.0f} | {worst['failed']} | {worst['lost']} | {median['migration']:.1f} "
        f"| {median['longest']:.1f} | {median['beyond']:.1f} |"
    )
    print(f"\nDatabase: {int(size.splitlines()[-1]):,} bytes; {RATE} requests per second on {CONNECTIONS} connections")


if __name__ == "__main__":
    main()
