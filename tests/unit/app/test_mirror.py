"""What is read of a repository's files, over HTTP; and what repositories do that mean harm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.models import now
from app.worker import mirror as module
from app.worker.git import Git, GitError
from app.worker.mirror import Found
from tests.unit.app.gitserver import HttpServer, http_server

MIT = b"MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\nof this software"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    with http_server(tmp_path_factory.mktemp("repositories")) as server:
        yield server


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path / "mirrors", deadline_seconds=20, mirror_bytes=4 << 20, private=True)


def scan(git: Git, url: str) -> Found:
    found = git.scan(url)
    assert found is not None
    return found


def test_the_files_of_the_last_commit_are_read(server: HttpServer, git: Git) -> None:
    url = server.write(
        "tool.git",
        {
            "src/main.py": b"# TODO: more\n# FIXME and XXX\nTODOS = 1\n",
            "src/copy.py": b"# TODO: more\n# FIXME and XXX\nTODOS = 1\n",
            "ui/app.ts": b"// nothing\n",
            "logo.png": b"TODO" * 100,
            "LICENSE": MIT,
            "pyproject.toml": b"",
            "ui/package.json": b"{}",
        },
    )

    content = scan(git, url).content

    assert (content.files, content.todos, content.license) == (7, 6, "MIT")
    assert content.languages == (("Python", 78), ("TypeScript", 11))
    assert content.size_bytes == 89
    assert content.manifests == ("pyproject.toml", "ui/package.json")


def test_the_mirror_has_no_files_but_those_that_were_read(server: HttpServer, git: Git) -> None:
    server.write("lean.git", {"old.py": b"# the past"})
    url = server.write("lean.git", {"new.py": b"# now", "logo.png": b"picture"})
    scan(git, url)

    listed = ["git", "--git-dir", str(git.mirror(url)), "cat-file", "--batch-all-objects", "--batch-check"]
    objects = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()

    assert [line.split()[2] for line in objects if " blob " in line] == [str(len("# now"))]


def test_the_next_scan_fetches_what_is_new_alone(server: HttpServer, git: Git) -> None:
    server.write("grows.git", {f"{number}.py": b"#" * number for number in range(50)})
    url = server.url("grows.git")
    scan(git, url)
    server.write("grows.git", {f"{number}.py": b"#" * number for number in range(51)})
    server.asked.clear()

    found = scan(git, url)

    assert (found.commits, found.content.files) == (2, 51)
    assert sum("git-upload-pack" in path and "info/refs" not in path for path in server.asked) <= 6


def test_commits_are_counted_by_week(server: HttpServer, git: Git) -> None:
    this_week = now()
    server.create("weeks.git", "a@example.org", date=f"{(this_week - timedelta(days=800)).timestamp():.0f} +0000")
    for ago in (7, 7, 0):
        server.commit("weeks.git", "a@example.org", date=f"{(this_week - timedelta(days=ago)).timestamp():.0f} +0000")

    activity = scan(git, server.url("weeks.git")).activity

    monday = this_week.date() - timedelta(days=this_week.weekday())
    assert activity == {monday.isoformat(): 1, (monday - timedelta(weeks=1)).isoformat(): 2}


def test_links_modules_and_strange_names_do_nothing(server: HttpServer, git: Git, tmp_path: Path) -> None:
    url = server.write(
        "strange.git",
        {
            "evil.py": b"/etc/passwd",
            "module": b"1" * 40,
            ".gitmodules": b'[submodule "x"]\n\tpath = module\n\turl = ext::touch owned\n',
            "a\nb/\xff\t.py".encode("latin-1").decode("latin-1"): b"# TODO",
            "hooks/post-checkout": b"#!/bin/sh\ntouch owned\n",
            "-rf.py": b"# TODO",
        },
        {"evil.py": "120000", "module": "160000"},
    )

    content = scan(git, url).content

    assert (content.files, content.todos) == (4, 2)
    assert not list(tmp_path.rglob("owned"))
    assert not list(git.mirror(url).rglob("hooks/*"))


def test_a_repository_that_is_too_large_is_an_error_and_leaves_nothing(server: HttpServer, git: Git) -> None:
    url = server.write("large.git", {f"{number}.py": os.urandom(1 << 20) for number in range(6)})

    with pytest.raises(GitError, match="larger than 4 MiB"):
        git.scan(url)

    assert not git.mirror(url).exists()


def test_a_repository_of_too_many_files_is_an_error(
    server: HttpServer, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 10)

    with pytest.raises(GitError, match="more than 10 files"):
        git.scan(server.write("many.git", {f"{number}": b"" for number in range(11)}))


def test_a_tree_that_holds_itself_many_times_over_is_an_error_and_no_flood(server: HttpServer, git: Git) -> None:
    server.write("bomb.git", {f"{number}": b"" for number in range(10)})
    tree = server.git("bomb.git", "rev-parse", "refs/heads/trunk^{tree}")
    for _ in range(7):
        entries = "".join(f"040000 tree {tree}\td{number}\0" for number in range(10))
        tree = server.git("bomb.git", "mktree", "-z", stdin=entries.encode())
    server.commit("bomb.git", "a@example.org", tree=tree)

    with pytest.raises(GitError, match="more than"):
        git.scan(server.url("bomb.git"))


def test_what_is_no_repository_is_an_error_in_words(server: HttpServer, git: Git) -> None:
    with pytest.raises(GitError, match="not found"):
        git.scan(server.url("missing.git"))


def test_a_server_that_sends_git_elsewhere_is_not_followed(server: HttpServer, git: Git) -> None:
    server.create("there.git", "a@example.org")

    with pytest.raises(GitError, match="unable to access"):
        git.scan(server.url("moved/there.git"))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:{port}/tool.git", "127.0.0.1"),
        ("http://localhost:{port}/tool.git", "(127.0.0.1|::1)"),
        ("http://2130706433:{port}/tool.git", "127.0.0.1"),
        ("git://127.1:{port}/tool.git", "127.0.0.1"),
        ("https://10.1.2.3/tool.git", "10.1.2.3"),
        ("https://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("https://[::1]/tool.git", "::1"),
        ("https://[::ffff:10.0.0.1]/tool.git", "::ffff:10.0.0.1"),
    ],
)
def test_machines_of_the_own_network_are_not_asked(server: HttpServer, git: Git, url: str, address: str) -> None:
    server.asked.clear()

    with pytest.raises(GitError, match=f"refused to connect to .*: {address} is not a public address"):
        replace(git, private=False).scan(url.format(port=server.port))

    assert server.asked == []


def test_a_name_that_nobody_knows_is_an_error(git: Git) -> None:
    with pytest.raises(GitError, match=r"unable to look up nowhere\.invalid"):
        replace(git, private=False).scan("https://nowhere.invalid/tool.git")
