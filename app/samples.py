"""A few small repositories to look at, for a first look: made here, real ones, with the commits of a year.

They lie in the folder of `SCAN_FILES`. Once that is there nothing is made anew: what somebody has deleted stays away.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from app.database import Database
from app.errors import PpmError
from app.models import Project, ProjectTag
from app.settings import Settings

WEEK = 7 * 24 * 3600
_AUTHORS = ("Ada", "Grace", "Linus", "Margaret", "Radia")
_MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software\n"
_APACHE = "Apache License\nVersion 2.0, January 2004\n"
# What a scan asks for; other people's servers allow it, and git's default does not.
_ALLOWED = ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant")


@dataclass(frozen=True)
class Sample:
    """A repository that is worked on from one week to another, both counted back from now."""

    name: str
    tags: tuple[str, ...]
    source: str
    """The file that every commit adds to."""
    line: str
    files: dict[str, str]
    authors: int
    begun: int
    ended: int
    busy: int
    """Commits in a week, at most."""


SAMPLES = (
    Sample(
        *("webshop", ("python", "web"), "src/shop.py", "PRICE_{n} = {n}  # TODO: ask what it costs"),
        {
            "LICENSE": _MIT,
            "pyproject.toml": '[project]\nname = "webshop"\n',
            "static/cart.js": "export const cart = [];\n",
        },
        *(5, 52, 0, 6),
    ),
    Sample(
        *("website", ("web",), "src/pages.ts", 'export const page{n} = "{n}";'),
        {"LICENSE": _MIT, "package.json": "{}\n", "src/style.css": "body { margin: 0 }\n" * 20},
        *(3, 40, 1, 3),
    ),
    Sample(
        *("infrastructure", ("ops",), "main.tf", 'output "host_{n}" {{ value = {n} }}'),
        {
            "LICENSE": _APACHE,
            "backup.sh": "set -e\n# FIXME: nobody has restored one\n" * 3,
            "Dockerfile": "FROM scratch\n",
        },
        *(2, 52, 2, 2),
    ),
    Sample(
        *("billing", ("java", "legacy"), "src/main/java/Bill.java", "// XXX {n}: nobody knows why"),
        {"pom.xml": "<project/>\n"},
        *(1, 110, 45, 2),
    ),
)


def make(settings: Settings, database: Database) -> list[str]:
    """Make the repositories and keep an eye on them, unless they were made before or there are projects already.

    Return the names of those that were made.
    """
    folder = settings.scan_files
    if folder is None:
        raise PpmError("SCAN_FILES names no folder: there is none in production")
    with database.read() as session:
        others = session.scalar(select(func.count()).select_from(Project))
    if others or folder.exists():
        return []
    partial = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(partial, ignore_errors=True)
    for sample in SAMPLES:
        _create(partial / f"{sample.name}.git", sample)
    with database.write() as session:
        for sample in SAMPLES:
            labels = [ProjectTag(tag=tag) for tag in sample.tags]
            session.add(Project(name=sample.name, url=f"file://{folder}/{sample.name}.git", labels=labels))
        session.flush()
        partial.rename(folder)
    return [sample.name for sample in SAMPLES]


def _create(folder: Path, sample: Sample) -> None:
    _git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(folder))
    for name in _ALLOWED:
        _git(f"--git-dir={folder}", "config", name, "true")
    _git(f"--git-dir={folder}", "fast-import", "--quiet", stdin=b"".join(_stream(sample)))


def _git(*argv: str, stdin: bytes = b"") -> None:
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", *argv], input=stdin, env=environment, check=True)


def _stream(sample: Sample) -> Iterator[bytes]:
    """Yield what git's fast-import makes the commits of."""
    chance = random.Random(sample.name)  # noqa: S311 - the same ones each time
    now = int(time.time())
    text = ""
    number = 0
    for week in range(sample.begun, sample.ended, -1):
        # The first commit has all files. What happens this week has happened by now.
        for moment in sorted(now - week * WEEK + chance.randrange(WEEK) for _ in range(chance.randint(1, sample.busy))):
            number += 1
            author = _AUTHORS[chance.randrange(sample.authors)]
            text += sample.line.format(n=number) + "\n"
            files = {sample.source: text} | (sample.files if number == 1 else {})
            yield f"commit refs/heads/main\ncommitter {author} <{author.lower()}@example.org> {moment} +0000\n".encode()
            yield _data(f"Change {number}")
            for path, content in files.items():
                yield f"M 100644 inline {path}\n".encode() + _data(content)


def _data(text: str) -> bytes:
    content = text.encode()
    return b"data %d\n%s\n" % (len(content), content)
