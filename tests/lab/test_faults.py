"""What goes wrong: each is a clear error with the next command, the old release serves, nothing is half-written."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.site import change_code
from ppmkit import __version__
from ppmkit.host import lock
from tests.support.load import losing_nothing
from tests.support.revisions import newest
from tests.support.site import Done, Site

FULL = pytest.mark.full


@pytest.fixture(autouse=True)
def _as_it_was(live: Site) -> Iterator[None]:
    """After each test the site has its old configuration, serves, and deploys whatever was left on it."""
    live.configure()
    release, before = live.serving(), untouched(live)
    yield
    live.configure()
    assert live.serving() == release, "the old release no longer serves"
    if untouched(live) != before:
        assert live.json("deploy")["release"] == release


def says(done: Done, *words: str) -> None:
    """Check that an error has these words, and a line that says what to do next."""
    for word in words:
        assert word in done.stderr, done.stderr
    assert "next:" in done.stderr
    assert "Traceback" not in done.stderr


def untouched(live: Site) -> str:
    """Return what a refused deploy must not change: containers, releases, routes."""
    return live.root(
        f"docker ps -a --no-trunc --format '{{{{.ID}}}} {{{{.Status}}}}' | cut -d' ' -f1,2 | sort;"
        f"ls {live.directory}/releases; cat {live.directory}/traefik/dynamic/*; readlink {live.directory}/current"
    )


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_known_one(live: Site) -> None:
    live.configure(app={"log_levle": "debug"})

    says(live.ppmctl("deploy", status=2), f"{live.name}.yaml:", "log_levle", "did you mean `log_level`?")


def test_a_wrong_type_is_named_with_what_is_allowed(live: Site) -> None:
    live.configure(app={"scan_interval_minutes": "often"})

    says(live.ppmctl("deploy", status=2), "app.scan_interval_minutes", "'often'", "a whole number")


def test_a_missing_secret_stops_the_deploy_before_it_begins(live: Site, tmp_path: Path) -> None:
    before = untouched(live)
    live.configure(secrets={"directory": str(tmp_path)})

    says(live.ppmctl("deploy", status=2), "session_secret is missing", f"ppmctl secrets init -e {live.name}")
    assert untouched(live) == before


def test_a_host_that_cannot_be_reached_is_named(live: Site) -> None:
    live.configure(hosts=[{"name": "dead", "address": "127.0.0.1", "port": 9}])

    done = live.ppmctl("deploy", status=1)

    says(done, "dead: no SSH connection", "Connection refused", f"ppmctl doctor -e {live.name}")
    status = live.json("status", status=3)
    assert "no SSH connection" in status["problems"][0]


def test_a_changed_host_key_is_refused(live: Site, tmp_path: Path) -> None:
    known = Path(live.values["ssh"]["known_hosts_file"]).read_text().split("\n")[0].split()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    key = (tmp_path / "other.pub").read_text()
    (tmp_path / "known_hosts").write_text(f"{known[0]} {key}")
    live.configure(ssh={"known_hosts_file": str(tmp_path / "known_hosts")})

    says(live.ppmctl("deploy", status=1), "key is not the one in known_hosts", "HAS CHANGED")


def test_an_image_that_does_not_build_shows_what_the_build_said(live: Site, checkout: Path) -> None:
    before = untouched(live)
    dockerfile = checkout / "app" / "Dockerfile"
    dockerfile.write_text(
        dockerfile.read_text().replace("WORKDIR /srv", "RUN echo no such luck && false\nWORKDIR /srv")
    )

    says(live.ppmctl("deploy", status=1, checkout=checkout), "did not build", "no such luck")
    assert untouched(live) == before


@FULL
def test_a_container_that_runs_out_of_memory_is_diagnosed_and_the_old_release_serves(
    live: Site, checkout: Path
) -> None:
    release = live.serving()
    code = checkout / "app" / "serve.py"
    code.write_text(f'{code.read_text()}\n_hog = b"x" * (1 << 30)\n')
    live.configure(upgrade={"ready_timeout": "6s"})

    with losing_nothing(live):
        done = live.ppmctl("deploy", status=1, checkout=checkout)

    says(done, "not ready after 6 s", "killed for its memory limit", f"Release {release} serves")


def test_a_migration_that_runs_out_of_memory_names_the_limit(live: Site, checkout: Path) -> None:
    code = checkout / "app" / "schema.py"
    code.write_text(f'{code.read_text()}\n_hog = b"x" * (1 << 30)\n')

    says(live.ppmctl("deploy", status=1, checkout=checkout), "memory limit", "Raise services.api.memory")


def test_a_container_that_ends_at_once_shows_its_exit_code_and_last_words(live: Site, checkout: Path) -> None:
    release = live.serving()
    code = checkout / "app" / "serve.py"
    code.write_text(f'{code.read_text()}\nraise SystemExit("the flux capacitor is empty")\n')
    live.configure(upgrade={"ready_timeout": "5s"})

    with losing_nothing(live):
        done = live.ppmctl("deploy", status=1, checkout=checkout)

    says(done, "not ready after 5 s", "the flux capacitor is empty", f"Release {release} serves")


def test_a_migration_that_fails_stops_the_deploy_and_the_old_release_serves(live: Site, checkout: Path) -> None:
    release = live.serving()
    head = newest(checkout)
    (checkout / "app/migrations/versions/9999_broken.py").write_text(
        f'"""A broken one."""\n\nrevision = "9999"\ndown_revision = "{head}"\ncompatibility = "expand"\n\n\n'
        'def upgrade() -> None:\n    raise RuntimeError("no such column: moon")\n'
    )

    with losing_nothing(live):
        done = live.ppmctl("deploy", status=1, checkout=checkout)

    says(done, "no such column: moon", f"Release {release} serves")


def test_a_second_deploy_at_the_same_time_is_told_who_holds_the_host(live: Site) -> None:
    owner = {"who": "ann@desk", "since": "2026-01-01T00:00:00+00:00", "command": f"ppmctl deploy -e {live.name}"}
    live.configure(app={"scan_interval_minutes": 7})
    with live.connect() as host, lock.held(host, owner):
        says(live.ppmctl("deploy", status=1), "locked", f"ann@desk runs `{owner['command']}` since 2026-01-01")


def test_an_older_ppmctl_changes_nothing_on_a_host_that_a_newer_one_has_changed(live: Site) -> None:
    file = f"{live.directory}/version.json"
    record, before = live.root(f"cat {file}"), untouched(live)
    assert json.loads(record) == {"version": __version__}
    digests = f"sha256sum {live.directory}/journal.jsonl {file}"
    try:
        live.root(f"""echo '{{"version": "999.0.0"}}' > {file}""")
        written = live.root(digests)
        live.configure(app={"scan_interval_minutes": 23})
        for command in ("deploy", "restore --latest --yes", "rollback", "abort", "backup list"):
            done = live.ppmctl(command, status=1)
            says(done, f"{live.host.name}: ppmctl 999.0.0 changed this host last", f"this is ppmctl {__version__}")
        assert "ppmctl 999.0.0 changed this host last" in live.ppmctl("plan", status=1).stdout
        [problem] = live.json("status", status=3)["problems"]
        assert problem.startswith(f"{live.host.name}: ppmctl: ppmctl 999.0.0 changed this host last")
        assert (untouched(live), live.root(digests)) == (before, written)

        live.root(f"""echo '{{"version": "0.1.0"}}' > {file}""")
        live.configure()
        assert "nothing to do" in live.ppmctl("deploy").stdout
        assert "0.1.0" in live.root(f"cat {file}"), "a command that changes nothing writes nothing"
    finally:
        live.root(f"echo {shlex.quote(record)} > {file}")


@FULL
def test_of_two_operators_one_deploys_and_the_other_is_told_and_the_lock_goes_with_who_was_killed(live: Site) -> None:
    live.configure(app={"scan_interval_minutes": 13})
    with live.start("deploy") as first:
        first.await_words("✓ ship")
        says(live.ppmctl("deploy", status=1), "locked", f"runs `ppmctl deploy -e {live.name}`")
    assert first.process.returncode == 0, first.said

    live.configure()
    with live.start("deploy") as killed:
        killed.await_words("✓ place")
        killed.process.kill()
    live.ppmctl("deploy")


@FULL
def test_a_clock_that_jumps_harms_no_upgrade_and_refuses_the_next(live: Site) -> None:
    ahead = "#!/bin/sh\nexec /bin/date -d '+1 hour' \"$@\"\n"  # a container has the machine's clock, which stays
    live.configure(app={"scan_interval_minutes": 17})
    try:
        with losing_nothing(live), live.start("deploy") as deploy:
            deploy.await_words("✓ place")
            live.root(f"printf %s {shlex.quote(ahead)} > /usr/local/bin/date; chmod 755 /usr/local/bin/date")
        assert deploy.process.returncode == 0, deploy.said
        live.configure(app={"scan_interval_minutes": 19})
        says(live.ppmctl("deploy", status=1), "its clock is +3", "ppmctl provision", "Nothing was changed")
    finally:
        live.root("rm -f /usr/local/bin/date")

    live.configure()
    live.ppmctl("deploy")


def test_a_taken_port_is_named_before_anything_is_changed(bare: Site) -> None:
    bare.root("systemd-run --unit=squatter -q python3 -m http.server 80")
    try:
        bare.root("for i in $(seq 100); do ss -ltn 'sport = :80' | grep -q LISTEN && exit; sleep 0.1; done; exit 1")
        says(bare.ppmctl("deploy", status=1), "port 80 is taken", "ss -ltnp")
    finally:
        bare.root("systemctl stop squatter")
    assert bare.root(f"docker ps -aq; ls {bare.directory}/releases") == ""


def test_a_full_disk_is_named_before_anything_is_changed(bare: Site) -> None:
    bare.root(f"mount -t tmpfs -o size=64m,uid=$(id -u deploy) tmpfs {bare.directory}")
    try:
        says(bare.ppmctl("deploy", status=1), f"only 64 MiB are free on {bare.directory}", "Free space there")
    finally:
        bare.root(f"umount {bare.directory}")
    assert bare.root(f"docker ps -aq; ls {bare.directory}/releases") == ""


def test_a_disk_that_fills_up_while_images_arrive_leaves_nothing_half_loaded(bare: Site) -> None:
    bare.root(
        "systemctl stop docker docker.socket; mkdir -p /small; mount -t tmpfs -o size=1200m tmpfs /small;"
        "mkdir /small/docker; mount --bind /small/docker /var/lib/docker; systemctl start docker;"
        "fallocate -l 150M /small/ballast"
    )
    try:
        says(bare.ppmctl("deploy", status=1), "no space left", "Free space on")
    finally:
        bare.root("systemctl stop docker docker.socket; umount /var/lib/docker; umount /small; systemctl start docker")
    assert bare.root("docker ps -aq") == ""


UNDONE = ("build", "place", "start", "worker", "switch")
"""Steps after which Ctrl-C takes everything back."""


@pytest.mark.parametrize(
    "step",
    ["build", "start", "drain", *(pytest.param(step, marks=FULL) for step in ("place", "worker", "switch"))],
)
def test_ctrl_c_in_a_step_ends_with_one_release_that_serves_and_loses_nothing(
    live: Site, checkout: Path, step: str
) -> None:
    before = live.serving()
    if step == "build":
        change_code(checkout)
    watched = {"bake": "30s"} if step == "switch" else {}  # or the next step would be over before the key is pressed
    live.configure(app={"scan_interval_minutes": 100}, upgrade=watched)
    with losing_nothing(live):
        with live.start("deploy", checkout=checkout) as deploy:
            if step == "build":
                deploy.await_program("buildx build")
            else:
                deploy.await_words(f"✓ {step}")  # it has ended, so the next one has begun
            status = deploy.interrupt()
        if step == "drain":
            assert live.serving() != before
        if step != "drain" or status:  # else what comes then was over
            assert status in (1, 130), deploy.said
            assert "interrupted" in deploy.said
            assert "Traceback" not in deploy.said
        if step == "drain" and status:
            assert f"the deploy has not finished: `ppmctl resume -e {live.name}` finishes it" in deploy.said
            live.ppmctl("resume")
            assert live.json("history")[0]["outcome"] == "done"
            assert live.healthy() == live.serving()
            assert live.root(f"ls {live.directory}/swaps") == ""
        if step in UNDONE:
            assert live.serving() == before, deploy.said
        live.configure()
        live.ppmctl("deploy")
