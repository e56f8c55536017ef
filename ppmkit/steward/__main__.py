"""`python -m steward COMMAND`: does one thing and prints one JSON document; an error is one sentence on stderr."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from . import commands
from .archive import pack
from .child import end_with
from .errors import StewardError
from .files import fingerprint, prune_copies, remove, stamp_of
from .sqlite.locks import alone
from .sqlite.pages import freshen, quiet
from .sqlite.row_diff import since
from .sqlite.schema import schema
from .sqlite.snapshot import rows, snapshot, verify
from .sqlite.swap import drop, keep, restore, take, taking


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="steward", description=__doc__)
    parser.add_argument("--alone", type=Path, metavar="DATABASE", help="keep others from opening it, from now on")
    parser.add_argument("--beside", type=int, metavar="PID", help="end as soon as this parent does")
    parser.add_argument("--on-signal", action="store_true", help="load everything, then wait for SIGUSR1")
    subparsers = parser.add_subparsers(dest="command", required=True)

    def command(act: Callable[..., Any], help: str, *paths: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(act.__name__.strip("_"), help=help)
        for path in paths:
            added.add_argument(path, type=Path)
        added.set_defaults(act=act)
        return added

    command(snapshot, "copy a live database", "source", "target").add_argument("--deadline", type=float, required=True)
    command(_verify, "check a copy that nobody has open", "copy")
    packed = command(_pack, "compress and encrypt a copy, decode it again and compare", "copy", "target")
    packed.add_argument("recipients", nargs="*")
    command(freshen, "bring a copy up to date with a database that nobody writes to", "source", "copy")
    command(restore, "put a copy in the place of the database", "copy", "target")
    moved = command(take, "move a copy that was verified to the place of the database", "copy", "target")
    moved.add_argument("fingerprint")
    moved.set_defaults(ready=taking)
    command(keep, "keep the database under another name, before a copy takes its place", "database", "copy")
    command(drop, "take that name away again, unless the place was taken", "database", "copy")
    command(since, "count the rows that were written since a copy", "copy", "database")
    command(_remove, "remove a copy", "copy")
    command(_fingerprint, "tell the digest of a file's bytes", "file")
    command(_where, "tell how the host's kernel names the file", "database")
    command(_stamp, "tell whether somebody has written: it is another one then", "database")
    command(schema, "tell the revision of the database, and the oldest whose release may run on it", "database")
    command(_prune, "remove the copies in a directory, but one", "directory", "kept")
    command(_serve, "make backups, copy them elsewhere and read them back, on the schedule, until SIGTERM")
    commands.add(subparsers)
    return parser


def _verify(copy: Path) -> dict[str, Any]:
    held = verify(copy)
    return {"rows": rows(held), "tables": held}


def _pack(copy: Path, target: Path, recipients: list[str]) -> dict[str, Any]:
    return {**pack(copy, target, recipients)}


def _fingerprint(file: Path) -> dict[str, Any]:
    return {"fingerprint": fingerprint(file)}


def _where(database: Path) -> dict[str, Any]:
    """Return how /proc/locks names the file."""
    found = database.stat()
    return {"device": f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}", "inode": found.st_ino}


def _remove(copy: Path) -> dict[str, Any]:
    remove(copy)
    return {}


def _serve() -> dict[str, Any]:
    from .service import serve  # what it needs, nobody else does: the others start faster

    serve()
    return {}


def _stamp(database: Path) -> dict[str, Any]:
    quiet(database).close()
    return {"stamp": stamp_of(database)}


def _prune(directory: Path, kept: Path) -> dict[str, Any]:
    return {"removed": prune_copies(directory, kept)}


def main() -> int:
    """Run the command; return the exit code."""
    options = vars(_parser().parse_args())
    act, ready = options.pop("act"), options.pop("ready", None)
    options.pop("command")
    closed, waits, parent = options.pop("alone"), options.pop("on_signal"), options.pop("beside")
    if parent:
        end_with(parent)
    try:
        with alone(closed) if closed else nullcontext():
            do = ready(**options) if ready else partial(act, **options)
            if waits:
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
                print("waiting", file=sys.stderr, flush=True)
                signal.sigwait({signal.SIGUSR1})
            print(json.dumps(do()), flush=True)
    except (StewardError, OSError, apsw.Error) as error:
        print(f"steward: {error}", file=sys.stderr)
        return error.status if isinstance(error, StewardError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
