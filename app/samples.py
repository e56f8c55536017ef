"""A few small sample repositories for a first look: real git repositories, created here, with a year of commits.

They are stored in the folder `SCAN_FILES`. Once it exists, nothing is created again: a deleted sample stays deleted.
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
# A scan needs these. Public servers allow them, but git's defaults do not.
_ALLOWED = ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant")


@dataclass(frozen=True)
class Sample:
    """A repository with commits from one week to another, both counted back from now."""

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
    """Maximum number of commits per week."""


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
    """Create the repositories and add them as projects, unless they were created before or there already are projects.

    Return the names of those that were created. Raises PpmError when SCAN_FILES is not set.
    """
    folder = settings.scan_files
    if folder is None:
        raise PpmError("SCAN_FILES is not set: there are no samples in production")
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
    """Yield the input from which git's fast-import creates the commits."""
    chance = random.Random(sample.name)  # noqa: S311 - must be reproducible
    now = int(time.time())
    text = ""
    number = 0
    for week in range(sample.begun, sample.ended, -1):
        # The first commit has all files. No commit is in the future.
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
