"""What the git binary finds in real repositories, behind a real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.worker.git import Git, GitError
from app.worker.mirror import Found
from app.worker.process import Cancelled
from tests.support.processes import threads
from tests.unit.app.gitserver import GitServer, git_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with git_server(tmp_path_factory.mktemp("repositories")) as server:
        yield server


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path / "mirrors", deadline_seconds=20, mirror_bytes=8 << 20, private=True)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def scan(git: Git, url: str) -> Found:
    found = git.scan(url)
    assert found is not None
    return found


def address(listening: socket.socket) -> str:
    return f"git://127.0.0.1:{listening.getsockname()[1]}/tool.git"


def gits_that_run(url: str) -> list[str]:
    """Return the processes that have the address among their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue
        if url.encode() in command:
            found.append(process.name)
    return found


def test_a_scan_finds_the_commits_and_who_made_them(server: GitServer, git: Git) -> None:
    url = server.create("tool.git", "a@example.org", "b@example.org", "A@Example.org")

    found = scan(git, url)
    assert (found.last_commit, found.commits, found.contributors) == (server.tip("tool.git"), 3, 2)
    assert found.last_commit_at == datetime.fromtimestamp(1_700_000_000, UTC)


def test_a_second_scan_finds_what_is_new(server: GitServer, git: Git) -> None:
    url = server.create("grows.git", "a@example.org")
    git.scan(url)

    server.commit("grows.git", "b@example.org", date="1700000060 +0000")

    found = scan(git, url)
    assert (found.last_commit, found.commits, found.contributors) == (server.tip("grows.git"), 2, 2)


def test_a_repository_without_commits_is_no_error(server: GitServer, git: Git) -> None:
    assert git.scan(server.create("empty.git")) == Found()


def test_a_commit_that_is_known_is_not_fetched_again(server: GitServer, git: Git) -> None:
    url = server.create("same.git", "a@example.org")

    assert git.scan(url, known=server.tip("same.git")) is None
    assert not git.mirror(url).exists()


def test_strange_addresses_and_dates_are_taken_as_they_are(server: GitServer, git: Git) -> None:
    strange = ("a\x85b@example.org", "tab\there", "", "ü@example.org")
    url = server.create("strange.git", *strange, date="@99999999999999 +0000")

    found = scan(git, url)

    assert (found.commits, found.contributors, found.last_commit_at) == (4, 4, None)


def test_a_repository_that_is_not_there_is_an_error_in_gits_words(server: GitServer, git: Git) -> None:
    with pytest.raises(GitError, match=r"access denied or repository not exported: /missing\.git"):
        git.scan(server.url("missing.git"))


def test_a_server_that_is_not_there_is_an_error(git: Git, silent: socket.socket) -> None:
    url = address(silent)
    silent.close()

    with pytest.raises(GitError, match="unable to connect"):
        git.scan(url)


@pytest.mark.parametrize(
    "url", ["file:///etc", "/etc", "ssh://example.org/tool", "--upload-pack=touch /tmp/x", "ext::sh"]
)
def test_other_ways_to_a_repository_are_closed(git: Git, url: str) -> None:
    with pytest.raises(GitError):
        git.scan(url)


def test_a_scan_that_takes_too_long_is_ended_with_its_git(git: Git, silent: socket.socket) -> None:
    with pytest.raises(GitError, match=r"not finished within 0\.5 s"):
        replace(git, deadline_seconds=0.5).scan(address(silent))

    assert gits_that_run(address(silent)) == []


def test_a_scan_can_be_cut_short(git: Git, silent: socket.socket) -> None:
    with threads() as pool:
        scan = pool.submit(git.scan, address(silent))
        connection, _ = silent.accept()
        with connection:
            assert gits_that_run(address(silent))
            git.cancel()
            with pytest.raises(Cancelled):
                scan.result(5)

    assert gits_that_run(address(silent)) == []


def test_after_that_no_other_scan_begins(git: Git, silent: socket.socket) -> None:
    git.cancel()

    with pytest.raises(Cancelled):
        git.scan(address(silent))


def test_a_broken_mirror_heals_by_the_scan_after(server: GitServer, git: Git) -> None:
    url = server.create("heals.git", "a@example.org")
    git.scan(url)
    (git.mirror(url) / "HEAD").write_text("nonsense")

    with pytest.raises(GitError):
        git.scan(url)

    assert scan(git, url).commits == 1


def test_mirrors_of_projects_that_are_gone_are_deleted(server: GitServer, git: Git) -> None:
    kept, gone = server.create("kept.git", "a@example.org"), server.create("gone.git", "a@example.org")
    git.scan(kept)
    git.scan(gone)

    git.tidy({kept}, 1 << 30)
    assert list(git.mirrors.iterdir()) == [git.mirror(kept)]

    git.tidy({kept}, 0)
    assert list(git.mirrors.iterdir()) == []
