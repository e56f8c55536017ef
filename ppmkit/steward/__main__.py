"""`python -m steward COMMAND`: run one command and print one JSON document. An error is one sentence on stderr."""

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
    parser.add_argument("--alone", type=Path, metavar="DATABASE", help="prevent other processes from opening it")
    parser.add_argument("--beside", type=int, metavar="PID", help="exit as soon as this parent process exits")
    parser.add_argument("--on-signal", action="store_true", help="load all code, then wait for SIGUSR1")
    subparsers = parser.add_subparsers(dest="command", required=True)

    def command(act: Callable[..., Any], help: str, *paths: str) -> argparse.ArgumentParser:
        subparser = subparsers.add_parser(act.__name__.strip("_"), help=help)
        for path in paths:
            subparser.add_argument(path, type=Path)
        subparser.set_defaults(act=act)
        return subparser

    command(snapshot, "copy a live database", "source", "target").add_argument("--deadline", type=float, required=True)
    command(_verify, "verify a copy that no process has open", "copy")
    pack_command = command(_pack, "compress and encrypt a copy, then decode it and compare", "copy", "target")
    pack_command.add_argument("recipients", nargs="*")
    command(freshen, "bring a copy up to date with a database that no other process writes to", "source", "copy")
    command(restore, "replace the database with a copy", "copy", "target")
    take_command = command(take, "replace the database by moving a verified copy", "copy", "target")
    take_command.add_argument("fingerprint")
    take_command.set_defaults(ready=taking)
    command(keep, "keep the database under another name, before a copy replaces it", "database", "copy")
    command(drop, "remove that name again, unless the database was replaced", "database", "copy")
    command(since, "count the rows that were written since a copy", "copy", "database")
    command(_remove, "remove a copy", "copy")
    command(_fingerprint, "print the digest of a file's content", "file")
    command(_where, "print the kernel's identifiers of the file", "database")
    command(_stamp, "print a stamp that changes with every write", "database")
    command(schema, "print the database's revision, and the oldest one whose release can run on it", "database")
    command(_prune, "remove all copies in a directory except one", "directory", "kept")
    command(_serve, "create backups, copy them to targets and verify them, on a schedule, until SIGTERM")
    commands.add(subparsers)
    return parser


def _verify(copy: Path) -> dict[str, Any]:
    tables = verify(copy)
    return {"rows": rows(tables), "tables": tables}


def _pack(copy: Path, target: Path, recipients: list[str]) -> dict[str, Any]:
    return {**pack(copy, target, recipients)}


def _fingerprint(file: Path) -> dict[str, Any]:
    return {"fingerprint": fingerprint(file)}


def _where(database: Path) -> dict[str, Any]:
    """Return the file's identifiers in /proc/locks."""
    stat = database.stat()
    return {"device": f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}", "inode": stat.st_ino}


def _remove(copy: Path) -> dict[str, Any]:
    remove(copy)
    return {}


def _serve() -> dict[str, Any]:
    from .service import serve  # imported here because other commands do not need it and start faster without

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
    locked, on_signal, parent = options.pop("alone"), options.pop("on_signal"), options.pop("beside")
    if parent:
        end_with(parent)
    try:
        with alone(locked) if locked else nullcontext():
            run = ready(**options) if ready else partial(act, **options)
            if on_signal:
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
                print("waiting", file=sys.stderr, flush=True)
                signal.sigwait({signal.SIGUSR1})
            print(json.dumps(run()), flush=True)
    except (StewardError, OSError, apsw.Error) as error:
        print(f"steward: {error}", file=sys.stderr)
        return error.status if isinstance(error, StewardError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
