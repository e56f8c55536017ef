"""Secrets on a real server: who can read them, that they are nowhere else, rotation under load, and their end.

The values of this site are sentinels. They lie encrypted in a git repository of its own, as a team would keep them.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pyrage
import pytest
from pydantic import SecretStr

from app.sessions import SESSION, Sessions
from app.settings import Settings
from ppmkit.lab import Lab
from ppmkit.paths import KIT, PROJECT
from tests.support.load import losing_nothing
from tests.support.processes import join
from tests.support.site import Site

NAMES = ("session_secret", "oauth_client_secret")
DOLLARS = "https://a$b.example.org/${HOME}$$'\""
"""A value that Compose would read otherwise, once in its file and once in what it says of that."""
KEYS = 'my keys 100%h "x" $HOME'
"""A folder with a name that ssh would read otherwise."""
KEY = pyrage.x25519.Identity.generate()
SENTINELS = {name: f"sentinel-{uuid.uuid4().hex}" for name in NAMES}
# Every file of the server: of the system, of Docker (images, containers and their logs, volumes), of its memory.
SEARCH = (
    "find / /var/lib/docker /run /tmp -xdev -type f -size -200M -print0 | xargs -0 grep -lsaF -f /run/sentinels; true"
)
IN_MEMORY = "for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do grep -qsaF -f /run/sentinels $f && echo $f; done"
DESCRIBED = """
docker inspect $(docker ps -aq) $(docker images -q) $(docker volume ls -q) $(docker network ls -q)
docker history --no-trunc $(docker images -q ppm/api | head -1)
for c in $(docker ps -aq); do docker logs $c 2>&1; done
docker events --since 30m --until 0s
journalctl --no-pager
"""


def forms(value: str) -> list[str]:
    """Return what a value looks like: as it is, in hex, and in base64 wherever it begins."""
    encoded = [base64.b64encode(bytes(shift) + value.encode())[4:-4].decode() for shift in (0, 1, 2)]
    return [value, value.encode().hex(), *encoded]


PATTERNS = "\n".join(form for value in SENTINELS.values() for form in forms(value))
SEEN = re.compile("|".join(map(re.escape, PATTERNS.splitlines())))


def seen_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if SEEN.search(line)] if SEEN.search(text) else []


@contextmanager
def watching_processes() -> Iterator[list[str]]:
    """Yield what is seen of sentinels in arguments and variables of any process of this machine, the server's too."""
    found: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        known: set[tuple[Path, bytes]] = set()
        while not ended.wait(0.1):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    arguments = (process / "cmdline").read_bytes()
                    if (process, arguments) in known:
                        continue
                    variables = (process / "environ").read_bytes()
                except OSError:
                    continue
                known.add((process, arguments))
                found.extend(seen_in((arguments + variables).decode(errors="replace").replace("\0", "\n")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        join(watcher)


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A provisioned site whose secrets are sentinels, encrypted with age and committed."""
    folder = tmp_path_factory.mktemp("sealed")
    keys = tmp_path_factory.mktemp("keys") / "age.txt"
    keys.write_text(f"{KEY}\n")
    keys.chmod(0o600)
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("PPMCTL_AGE_IDENTITY", str(keys))
    (folder / KEYS).symlink_to(lab.directory)
    site = Site("sealed", lab, 2, folder)
    sealed(site)
    site.ppmctl("provision")
    for name, value in SENTINELS.items():
        argv = site.argv("secrets set", name)
        subprocess.run(argv, env=site.variables, input=value, text=True, check=True, capture_output=True)
    git(site, "init", "-q")
    git(site, "add", "-A")
    git(site, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "Keep the secrets")
    site.root(f"umask 077; cat > /run/sentinels <<'END'\n{PATTERNS}\nEND")
    yield site
    if site.root("docker ps -aq"):
        site.ppmctl("down", "--purge", "--yes")
    monkeypatch.undo()


def sealed(site: Site, ready_timeout: str = "60s", **app: object) -> None:
    """Configure the site: secrets by age, and these settings of the application."""
    keys = site.folder / KEYS
    site.configure(
        ssh={"identity_file": str(keys / "id_ed25519"), "known_hosts_file": str(keys / "known_hosts")},
        secrets={"provider": "age", "recipients": [str(KEY.to_public())]},
        app={"oauth_client_id": "Iv1.x", "cors_origin": DOLLARS, **app},
        upgrade={"ready_timeout": ready_timeout},
    )


def git(site: Site, *argv: str) -> str:
    done = subprocess.run(["git", "-C", site.folder, *argv], capture_output=True, text=True, check=False)
    return done.stdout


@pytest.mark.timeout(400)
def test_the_values_are_nowhere_but_in_their_files(site: Site, tmp_path: Path) -> None:
    said = []

    def ppmctl(command: str, *argv: str, status: int = 0) -> None:
        done = site.ppmctl(command, *argv, status=status)
        said.extend([done.stdout, done.stderr])

    with watching_processes() as in_processes:
        ppmctl("plan", "--out", str(tmp_path / "plan.json"), status=3)
        ppmctl("deploy")
        for command in ("plan", "status", "releases", "history", "secrets check", "config show"):
            ppmctl(command, "--json")
        ppmctl("render", "--out", str(tmp_path / "rendered"))
        sealed(site, "6s", database_url="sqlite:////nowhere/x.db")
        ppmctl("deploy", status=1)
        sealed(site)
        ppmctl("logs api")

    assert in_processes == []
    assert seen_in("\n".join(said)) == []
    assert seen_in("\n".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())) == []
    assert seen_in(site.root(DESCRIBED)) == []
    assert site.root(f"{IN_MEMORY}; true") == ""
    files = site.root(f"ls {site.directory}/secrets/*/*").splitlines()
    assert sorted(site.root(SEARCH).splitlines()) == sorted([*files, "/run/sentinels"])
    assert len(files) == len(NAMES)
    assert seen_in(git(site, "log", "-p", "--all") + git(site, "grep", "-aI", "", "HEAD")) == []
    assert "AGE ENCRYPTED FILE" in git(site, "show", "HEAD:secrets/session_secret.age")
    ours = ["git", "-C", KIT, "grep", "--untracked", "-laF", "-f", "-"]
    kept = ["grep", "-rlaF", "-f", "-", PROJECT / ".ppmctl"]  # git ignores it
    for search in (ours, kept):
        assert subprocess.run(search, input=PATTERNS, capture_output=True, text=True, check=False).stdout == ""


def test_the_services_read_them_and_nobody_else(site: Site) -> None:
    inside = "docker exec $(docker ps -qf label=ppm.role=api | head -1)"
    for name, value in SENTINELS.items():
        assert site.root(f"{inside} cat /run/secrets/{name}") == value
        assert site.root(f"{inside} stat -c '%a %u' /run/secrets/{name}") == "400 10001"
    for role in ("worker", "frontend"):  # strangers' repositories and strangers' requests: neither needs one
        listed = site.root(f"docker exec $(docker ps -qf label=ppm.role={role}) ls /run/secrets 2>&1 || true")
        assert listed.startswith("ls:"), listed
    file = f"{site.directory}/secrets/session_secret/*"
    assert "Permission denied" in site.root(f"runuser -u deploy -- sh -c 'cat {file}' 2>&1 || true")
    assert "Permission denied" in site.root(f"runuser -u nobody -- ls {site.directory}/secrets 2>&1 || true")


def test_a_file_that_others_can_read_is_shown_and_closed_again(site: Site) -> None:
    file = site.root(f"ls {site.directory}/secrets/session_secret/*")
    site.root(f"chmod 444 {file}")

    assert "it has mode 444 and belongs to user 10001" in site.ppmctl("plan", status=3).stdout
    site.ppmctl("deploy")

    assert site.root(f"stat -c '%a %u' {file}") == "400 10001"


def session(secret: str) -> Sessions:
    """Return what signs and reads cookies with this secret alone, as the api does."""
    return Sessions(Settings(app_env="development", session_secret=SecretStr(secret)))


def test_a_rotation_under_load_loses_no_request_and_logs_nobody_out(site: Site) -> None:
    sealed(site, oauth_logins={"somebody": "read"})
    site.ppmctl("deploy")
    cookie = {"ppm_session": session(SENTINELS["session_secret"]).sign(SESSION, {"login": "somebody", "groups": []})}
    projects = f"{site.url}/api/projects"
    assert httpx.get(projects, trust_env=False).status_code == 401
    assert httpx.get(projects, cookies=cookie, trust_env=False).status_code == 200

    with losing_nothing(site):
        done = site.ppmctl("secrets rotate", "session_secret")

    assert httpx.get(projects, cookies=cookie, trust_env=False).status_code == 200

    inside = "docker exec $(docker ps -qf label=ppm.role=api | head -1) cat /run/secrets"
    new = site.root(f"{inside}/session_secret")
    assert len(base64.b64decode(new)) == 32
    assert new not in done.stdout + done.stderr
    assert site.root(f"{inside}/session_secret_previous").splitlines()[0] == SENTINELS["session_secret"]
    forged = {"ppm_session": session(new[::-1]).sign(SESSION, {"login": "somebody", "groups": []})}
    assert httpx.get(projects, cookies=forged, trust_env=False).status_code == 401
    assert site.json("secrets check") == []
    assert "nothing to do" in site.ppmctl("deploy").stdout
    assert site.root(f"{inside.replace('cat /run/secrets', 'printenv CORS_ORIGIN')}") == DOLLARS
    assert "app.cors_origin: `$$` is two dollar signs" in site.ppmctl("plan").stdout


def test_a_rotation_whose_deploy_fails_and_another_one_log_nobody_out(site: Site) -> None:
    logins = {"somebody": "read"}
    inside = "docker exec $(docker ps -qf label=ppm.role=api | head -1) cat /run/secrets"
    live = site.root(f"{inside}/session_secret")
    cookie = {"ppm_session": session(live).sign(SESSION, {"login": "somebody", "groups": []})}
    sealed(site, "6s", database_url="sqlite:////nowhere/x.db", oauth_logins=logins)
    site.ppmctl("secrets rotate", "session_secret", status=1)
    assert site.root(f"{inside}/session_secret") == live

    sealed(site, oauth_logins=logins)
    site.ppmctl("secrets rotate", "session_secret")

    new = site.root(f"{inside}/session_secret")
    assert new != live
    assert site.root(f"{inside}/session_secret_previous").splitlines()[0] == live
    assert httpx.get(f"{site.url}/api/projects", cookies=cookie, trust_env=False).status_code == 200


@pytest.mark.full
def test_a_rotation_that_reaches_the_host_late_ends_no_session(site: Site) -> None:
    inside = "docker exec $(docker ps -qf label=ppm.role=api | head -1) cat /run/secrets"
    live = site.root(f"{inside}/session_secret")
    sealed(site, "6s", database_url="sqlite:////nowhere/x.db")
    site.ppmctl("secrets rotate", "session_secret", status=1)
    dates = site.folder / "secrets" / "dates.json"
    long_ago = (datetime.now(UTC) - timedelta(days=8)).isoformat()
    dates.write_text(json.dumps(json.loads(dates.read_text()) | {"session_secret_previous": long_ago}))

    sealed(site)
    said = site.ppmctl("deploy").stderr

    assert "hosts still run session_secret_previous" in said
    assert site.root(f"{inside}/session_secret_previous").splitlines()[0] == live
    assert site.root(f"{inside}/session_secret") != live


@pytest.mark.full
def test_a_rotation_keeps_a_value_that_only_the_host_has(site: Site) -> None:
    inside = "docker exec $(docker ps -qf label=ppm.role=api | head -1) cat /run/secrets"
    live = site.root(f"{inside}/session_secret")
    for name in ("session_secret", "session_secret_previous"):
        (site.folder / "secrets" / f"{name}.age").unlink()
    argv = site.argv("secrets set", "session_secret")
    subprocess.run(argv, env=site.variables, input=f"another-{uuid.uuid4().hex}", text=True, check=True)

    site.ppmctl("secrets rotate", "session_secret")

    assert site.root(f"{inside}/session_secret_previous").splitlines()[0] == live
    assert site.root(f"{inside}/session_secret") != live


def test_a_purge_leaves_no_value_on_the_server(site: Site) -> None:
    site.ppmctl("down", "--purge", "--yes")

    assert site.root(SEARCH) == "/run/sentinels"
    assert site.root(f"find {site.directory}/secrets -type f") == ""
