"""A real database, and a process that writes to it all the while."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from ppmkit.paths import KIT

WRITER = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(10_000)
connection.execute("PRAGMA synchronous=OFF")
print("writing", flush=True)
number = 0
while True:
    number += 1
    with connection:
        connection.execute("INSERT INTO pairs VALUES (?, ?)", (number, "x" * 500))
        connection.execute("INSERT INTO twins VALUES (?)", (number,))
"""


def make(path: Path, rows: int = 8000) -> Path:
    """Make a database with so many rows in `pairs`."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute("CREATE TABLE pairs (number INTEGER, filling TEXT); CREATE TABLE twins (number INTEGER)")
        connection.execute("CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO names VALUES ('a')")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO pairs SELECT -i, hex(randomblob(500)) FROM n",
            (rows,),
        )
    return path


KILLING = """
import importlib, os, sys

def killing(act, after=int(sys.argv[1]), seen=[0]):
    def wrapped(*args, **options):
        seen[0] += 1
        if seen[0] == after:
            os.kill(os.getpid(), 9)
        return act(*args, **options)
    return wrapped

module, _, name = sys.argv[2].rpartition(".")
owner = importlib.import_module(module) if module != "Path" else __import__("pathlib").Path
setattr(owner, name, killing(getattr(owner, name)))
"""


def killed_at_each(call: str, script: str, *argv: str, most: int = 40) -> Iterator[bool]:
    """Run a script as often as it calls a function, killing it before the first call, the second …; then as it is.

    ``call`` is a function of a module, or of Path. Yields after each run: whether it was killed.
    """
    for number in range(1, most):
        whole = [sys.executable, "-c", KILLING + script, str(number), call, *argv]
        done = subprocess.run(whole, stdout=subprocess.DEVNULL, check=False, timeout=30)
        assert done.returncode in (0, -9)
        yield done.returncode != 0
        if done.returncode == 0:
            return
    raise AssertionError(f"{call} is called more than {most} times")


@contextmanager
def writer(database: Path) -> Iterator[subprocess.Popen[str]]:
    """Write two rows in each transaction, as fast as it goes, for as long as the block lasts."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(database)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()


def execute(database: Path, sql: str) -> list[tuple[object, ...]]:
    """Run SQL on a connection of its own; return the rows."""
    with closing(apsw.Connection(str(database))) as connection:
        return connection.execute(sql).fetchall()


def steward(*argv: str, settings: str = "", stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the steward as its image does."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(settings)
        file.flush()
        environment = os.environ | {"PYTHONPATH": str(KIT), "STEWARD": file.name}
        return subprocess.run(
            [sys.executable, "-m", "ppmkit.steward", *argv],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def told(database: Path, backups: Path, *recipients: str) -> str:
    """Return the steward's settings."""
    return json.dumps(
        {
            "database": str(database),
            "backups": str(backups),
            "recipients": recipients,
            "deadline": 60,
            "rate": None,
            "keep": {"last": 1, "hourly": 0, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "safety": 1},
        }
    )
