"""The cost of a backup, compared with the usual tools without ppmctl: `python -m bench.backup [GIGABYTES]`.

All figures are medians of three runs on the same file. The copy alone is compared with `cp` and fsync, idle and while
another process commits 400 times per second. The complete backup (proven, compressed and encrypted) is compared with
`sqlite3 .backup`, `PRAGMA integrity_check`, `zstd` and `age` one after another, and with Litestream, which also
restores it. Finally, it counts how many of 100 flipped bits and truncations are detected. It needs root, Debian's
sqlite3, zstd and age, and six times the database's size on disk.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pyrage

from bench import litestream
from bench.measuring import Cost, damaged, measured
from ppmkit.paths import KIT
from ppmkit.steward import catalog, verify
from ppmkit.steward.files import remove, sync
from ppmkit.steward.sqlite.page_copy import pinned
from ppmkit.steward.throttle import Pace

RUNS = 3
RATE = 400
SETTLING_SECONDS = 10
DAMAGED_GIGABYTES = 0.1
ROWS_PER_GIGABYTE = 2_050_000
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO commits SELECT i, 'project-' || (i % 997), hex(randomblob(20)),
    'https://git.example.org/team/' || (i % 997),
    hex(randomblob(150)) || ' and some words that come back now and then ' || (i % 100), i * 1.5
FROM n
"""
PAUSE_MS = 5
PAUSES = """
import json, os, sys, threading, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
stop, pauses, last = threading.Event(), [], time.monotonic()
print("looking", flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
while not stop.is_set():
    time.sleep(0.001)
    before, last = last, time.monotonic()
    if last - before > float(sys.argv[1]) / 1000:
        pauses.append((before, last))
print(json.dumps(pauses))
"""
"""A control like jHiccup (Gil Tene): a program with the highest priority that only sleeps, a millisecond at a time.
When it sleeps for longer, the whole machine stood still, and no program caused that."""
WRITER = """
import apsw, json, sys, time
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(10_000)
connection.execute("PRAGMA synchronous=NORMAL")
rate, samples, began = float(sys.argv[2]), [], time.monotonic()
print("writing", flush=True)
import threading
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
number = 0
while not stop.is_set():
    due = began + number / rate
    if (wait := due - time.monotonic()) > 0:
        time.sleep(wait)
    with connection:
        connection.execute("INSERT INTO ledger VALUES (?, ?)", (number, "x" * 200))
    samples.append((time.monotonic(), (time.monotonic() - due) * 1000))
    number += 1
print(json.dumps(samples))
"""


def fill(database: Path, gigabytes: float) -> None:
    """Create a database of about this size."""
    with closing(apsw.Connection(str(database))) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute("PRAGMA synchronous=OFF; CREATE TABLE ledger (number INTEGER, filling TEXT)")
        connection.execute("CREATE TABLE commits (id INTEGER PRIMARY KEY, name, sha, url, message, at)")
        connection.execute("CREATE INDEX by_name ON commits (name)")
        connection.execute(FILL, (int(gigabytes * ROWS_PER_GIGABYTE),)).fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    sync(database)


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began


def timed_copy(act: Callable[[Path, Path], None], database: Path, target: Path) -> float:
    """Return the seconds that a copy takes, starting with an idle disk."""
    settled(target)
    return timed(lambda: act(database, target))


def settled(target: Path) -> None:
    """Remove the previous copy; wait until the disk has finished all writes, and then some seconds more."""
    target.unlink(missing_ok=True)
    os.sync()
    time.sleep(SETTLING_SECONDS)


def pages(database: Path, target: Path) -> None:
    """Copy as the steward does, pinned, and sync the copy to disk."""
    with pinned(database) as live:
        live.copy(target, Pace(database, 600))
    sync(target)


def cp(database: Path, target: Path) -> None:
    """Copy the file, which has no writer, and sync the copy to disk."""
    subprocess.run(["cp", str(database), str(target)], check=True)
    sync(target)


Pairs = list[tuple[float, float]]


@contextmanager
def beside(program: str, *argv: str) -> Iterator[Callable[[], Pairs]]:
    """Run a program in another process; yield a function that ends it and returns what it measured."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield lambda: json.loads(process.communicate("", timeout=60)[0])


def p99(samples: Pairs, begin: float, end: float) -> float:
    """Return the 99th percentile of the latencies between two moments."""
    inside = sorted(latency for at, latency in samples if begin <= at < end)
    return inside[int(len(inside) * 0.99)]


def outside(pauses: Pairs, samples: Pairs) -> Pairs:
    """Return the samples that no pause of the machine delayed."""
    return [(at, ms) for at, ms in samples if not any(at - ms / 1000 < end and begin < at for begin, end in pauses)]


def under_load(database: Path, target: Path) -> dict[str, float]:
    """Copy while another process commits; return the seconds, and the writer's p99 before and during the copy."""
    settled(target)
    with beside(PAUSES, str(PAUSE_MS)) as end_control, beside(WRITER, str(database), str(RATE)) as end_writer:
        began = time.monotonic()
        time.sleep(SETTLING_SECONDS)
        begin = time.monotonic()
        seconds = timed(lambda: pages(database, target))
        end = time.monotonic()
        samples, pauses = end_writer(), end_control()
    undisturbed = outside(pauses, samples)
    return {
        "seconds": seconds,
        "before": p99(undisturbed, began + 1, begin),
        "during": p99(undisturbed, begin, end),
        "during, with the machine's pauses": p99(samples, begin, end),
        "pauses of the machine, ms": 1000 * sum(min(to, end) - at for at, to in pauses if begin <= at < end),
    }


def steward(database: Path, backups: Path, key: Any, *command: str) -> Cost:
    """Run a command of the steward, given the private key; return its cost."""
    keep = dict.fromkeys(("last", "hourly", "daily", "weekly", "monthly", "yearly", "safety"), 1)
    values = {"database": str(database), "backups": str(backups), "recipients": [str(key.to_public())]}
    settings = database.with_name("settings.json")
    settings.write_text(json.dumps({**values, "deadline": 3600, "rate": None, "keep": keep}))
    variables = {"PYTHONPATH": str(KIT), "STEWARD": str(settings)}
    return measured([sys.executable, "-m", "ppmkit.steward", *command], variables, str(key))


def ours(database: Path, folder: Path, key: Any) -> dict[str, float]:
    """Back up with the steward, and prepare that backup for use; return the cost of both."""
    backups, target = folder / "backups", folder / "restored.db"
    shutil.rmtree(backups, ignore_errors=True)
    made = steward(database, backups, key, "backup")
    back = steward(database, backups, key, "stage", "latest", str(target), "--key")
    remove(target)
    return _figures("steward", made, back)


def theirs(database: Path, folder: Path) -> dict[str, float]:
    """Do the same with Litestream, which checks the database only on request; return the cost."""
    shutil.rmtree(folder / "litestream", ignore_errors=True)
    (folder / "litestream").mkdir()
    target = folder / "restored.db"
    made = litestream.copy(database, folder / "litestream")
    back = litestream.restore(folder / "litestream", target)
    checked = litestream.restore(folder / "litestream", target, "-integrity-check", "full")
    remove(target)
    return {**_figures("litestream", made, back), "litestream: restore and integrity_check, s": checked.seconds}


def _figures(name: str, made: Cost, back: Cost) -> dict[str, float]:
    return {
        f"{name}: backup, s": made.seconds,
        f"{name}: backup, MB of memory": made.megabytes,
        f"{name}: restore, s": back.seconds,
        f"{name}: restore, MB of memory": back.megabytes,
    }


def peers(database: Path, folder: Path, recipient: str) -> float:
    """Do the same with the usual tools, one after another; return the seconds."""
    copy, packed = folder / "peer.db", folder / "peer.db.zst"
    commands = (
        ["sqlite3", str(database), f".backup {copy}"],
        ["sqlite3", str(copy), "PRAGMA integrity_check"],
        ["zstd", "-q", "-3", "-T0", str(copy), "-o", str(packed)],
        ["age", "-r", recipient, "-o", f"{packed}.age", str(packed)],
    )
    seconds = timed(lambda: [subprocess.run(argv, check=True, stdout=subprocess.DEVNULL) for argv in commands])
    for left in folder.glob("peer.db*"):
        left.unlink()
    return seconds


def detected(folder: Path, key: Any) -> dict[str, int]:
    """Return how many of 100 flipped bits and truncations each tool detects, on a smaller file, because each damaged
    file is read completely."""
    folder.mkdir()
    database, backups = folder / "ppm.db", folder / "backups"
    fill(database, DAMAGED_GIGABYTES)
    ours(database, folder, key)
    theirs(database, folder)
    made = catalog.catalog(backups)[-1]
    return {
        "steward: detected": sum(verify.prove(made, [key], backups)["outcome"] == "failed" for _ in damaged(made.file)),
        "litestream: detected": litestream.detected(folder / "litestream", folder / "restored.db"),
    }


def main() -> None:
    """Print one JSON document."""
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    key = pyrage.x25519.Identity.generate()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as scratch:
        folder = Path(scratch)
        database, copy = folder / "ppm.db", folder / "copy.db"
        fill(database, gigabytes)
        figures: dict[str, list[float]] = {}
        for _ in range(RUNS):
            values = {name: timed_copy(copy_it, database, copy) for name, copy_it in (("cp", cp), ("copy", pages))}
            values |= {f"under load: {name}": value for name, value in under_load(database, copy).items()}
            copy.unlink()
            values |= {"peers": peers(database, folder, str(key.to_public()))}
            values |= ours(database, folder, key) | theirs(database, folder)
            for name, value in values.items():
                figures.setdefault(name, []).append(value)
        report = {name: round(statistics.median(runs), 3) for name, runs in figures.items()}
        report |= {"bytes": database.stat().st_size, **detected(folder / "damaged", key)}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
