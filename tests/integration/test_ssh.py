"""Repositories behind a real sshd: with the right key, from hosts that are known, and never by asking anybody."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from python_on_whales import DockerClient

from app.settings import Settings
from app.worker.address import Address
from app.worker.git import Git, GitError
from app.worker.mirror import Mirror
from app.worker.process import Limits
from app.worker.ssh import ready
from ppmkit.config.environment import Images
from ppmkit.images.bases import ensure_debian
from ppmkit.images.recipe import Recipe, build
from tests.integration.conftest import Run, address, client, until
from tests.integration.conftest import ready as serving
from tests.support.waiting import eventually
from tests.unit.app.gitserver import GitServer

DOCKERFILE = Path(__file__).parent / "ssh" / "Dockerfile"
FILES = {"main.py": b"# TODO\n", "LICENSE": b"Apache License\nVersion 2.0"}


@dataclass(frozen=True)
class Sshd:
    """A host, and the folder with its key, the key that it lets in, and one that it does not know."""

    address: str
    keys: Path
    repositories: GitServer

    @property
    def known(self) -> str:
        """What `ssh-keyscan` prints of it."""
        return self.known_as(f"{self.address},[{self.address}]:2222")

    def known_as(self, name: str) -> str:
        sort, key, *_ = (self.keys / "host.pub").read_text().split()
        return f"{name} {sort} {key}"


def make_key(file: Path, passphrase: str = "") -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", file.name, "-f", str(file)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def sshd(docker: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    keys, repositories = tmp_path_factory.mktemp("keys"), tmp_path_factory.mktemp("repositories")
    for name, passphrase in {"host": "", "deploy": "", "stranger": "", "locked": "secret"}.items():
        make_key(keys / name, passphrase)
    served = tmp_path_factory.mktemp("sshd")
    for name in ("host", "deploy.pub"):
        shutil.copy(keys / name, served)
        (served / name).chmod(0o644)  # another user's
    for folder in (served, repositories, *served.parents):
        if folder.is_relative_to(tmp_path_factory.getbasetemp()):
            folder.chmod(0o755)
    debian = ensure_debian(Images(bases="local"), docker, print)
    image = build(docker, Recipe("ppm-test/sshd", DOCKERFILE, {"DEBIAN_IMAGE": debian}), print)
    mounts = [(str(served), "/keys", "ro"), (str(repositories), "/repositories", "ro")]
    container = docker.run(image, detach=True, cap_drop=["ALL"], init=True, memory="128m", volumes=mounts)
    try:
        assert eventually(lambda: "port 2222" in container.logs()), container.logs()
        container.reload()
        yield Sshd(address(container), keys, GitServer(repositories, "", 0, 0))
    finally:
        docker.remove(container, force=True, volumes=True)


Keyed = Callable[..., Git]


@pytest.fixture
def git_with(sshd: Sshd, tmp_path: Path) -> Iterator[Keyed]:
    """Return a git that has a key, and the hosts that it knows."""
    with ExitStack() as opened:

        def make(key: str = "deploy", known: str = sshd.known) -> Git:
            secret = SecretStr((sshd.keys / key).read_text().strip())
            given = {"git_deploy_key": secret, "scan_known_hosts": (known,)}
            ssh = opened.enter_context(ready(Settings(app_env="test").model_copy(update=given)))
            return Git(tmp_path / "mirrors", 20, 8 << 20, private=True, ssh=ssh)

        yield make


@pytest.mark.parametrize(
    "form",
    [
        "ssh://git@{host}/repositories/{name}",
        "ssh://git@{host}:2222/repositories/{name}",
        "git@{host}:repositories/{name}",
        "git@{host}:/repositories/{name}",
    ],
)
def test_a_repository_is_read_by_ssh_in_every_way_to_write_its_address(sshd: Sshd, git_with: Keyed, form: str) -> None:
    if not (sshd.repositories.folder / "tool.git").exists():
        sshd.repositories.write("tool.git", FILES)
    url, git = form.format(host=sshd.address, name="tool.git"), git_with()

    found = git.scan(url)

    assert found is not None
    assert (found.last_commit, found.commits) == (sshd.repositories.tip("tool.git"), 1)
    assert (found.content.files, found.content.todos, found.content.license) == (2, 1, "Apache-2.0")
    assert git.scan(url, known=found.last_commit) is None


def test_a_host_whose_key_is_not_known_or_another_one_is_not_told_anything(sshd: Sshd, git_with: Keyed) -> None:
    url = f"ssh://git@{sshd.address}/repositories/tool.git"
    other = (sshd.keys / "stranger.pub").read_text().split()

    with pytest.raises(GitError, match="Host key verification failed"):
        git_with(known=sshd.known_as("elsewhere.example.org")).scan(url)
    with pytest.raises(GitError, match=r"has changed .* Host key verification failed"):
        git_with(known=f"{sshd.address} {other[0]} {other[1]}").scan(url)


@pytest.mark.parametrize("key", ["stranger", "locked"])
def test_a_key_that_does_not_open_is_an_error_and_nobody_is_asked(sshd: Sshd, git_with: Keyed, key: str) -> None:
    with pytest.raises(GitError, match="Permission denied"):
        git_with(key).scan(f"git@{sshd.address}:repositories/tool.git")


def test_a_repository_that_is_not_there_is_an_error_in_its_hosts_words(sshd: Sshd, git_with: Keyed) -> None:
    with pytest.raises(GitError, match="does not appear to be a git repository"):
        git_with().scan(f"git@{sshd.address}:repositories/missing.git")


def test_machines_of_the_own_network_are_not_asked_by_ssh_either(sshd: Sshd, git_with: Keyed) -> None:
    with pytest.raises(GitError, match="is not a public address"):
        replace(git_with(), private=False).scan(f"git@{sshd.address}:repositories/tool.git")


def test_a_host_is_asked_where_its_name_was_looked_up_and_must_have_the_key_of_its_name(
    sshd: Sshd, git_with: Keyed
) -> None:
    sshd.repositories.create("named.git", "a@example.org")
    git = git_with(known=sshd.known_as("[git.invalid]:2222"))
    assert git.ssh is not None
    limits = Limits(20, float("inf"), git.mirrors, 1 << 20, git._cancelled)
    options = git.ssh.options("git.invalid", 2222, sshd.address)

    tip = Mirror(Address("ssh://git@git.invalid:2222/repositories/named.git", options), limits).tip()

    assert tip == sshd.repositories.tip("named.git")


def test_the_image_has_what_it_takes_and_says_nothing_of_the_key(
    sshd: Sshd, run: Run, tmp_path: Path, docker: DockerClient
) -> None:
    url = f"git@{sshd.address}:repositories/image.git"
    sshd.repositories.create("image.git", "a@example.org", "b@example.org")
    key = tmp_path / "git_deploy_key"
    key.write_text((sshd.keys / "deploy").read_text().strip())
    key.chmod(0o444)
    envs = {"SCAN_KNOWN_HOSTS": json.dumps([sshd.known])}
    api = serving(run("ppm", "serve", more=envs))
    worker = run("ppm", "worker", more=envs, mounts=[(str(key), "/run/secrets/git_deploy_key", "ro")])

    with client(api, str(api.execute(["ppm", "token", "create", "test"]))) as http:
        location = http.post("/api/projects", json={"url": url}).headers["Location"]
        until(lambda: http.get(location).json()["scanned_at"], worker)
        project = http.get(location).json()

    assert (project["commits"], project["scan_error"]) == (2, None)
    assert "OPENSSH" not in worker.logs() + str(docker.container.inspect(worker.id))
