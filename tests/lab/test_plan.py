"""What `plan` shows of a server, what a deploy then repairs, and that a saved plan is done exactly or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.test_faults import says, untouched
from tests.support.load import losing_nothing
from tests.support.revisions import ADD, newest, revise
from tests.support.site import Site
from tests.support.waiting import eventually

FULL = pytest.mark.full


@pytest.fixture(autouse=True)
def _as_it_was(live: Site) -> Iterator[None]:
    """After each test the site has its old configuration, and its old release serves."""
    live.configure()
    release, before = live.serving(), untouched(live)
    yield
    live.configure()
    if untouched(live) != before:
        live.ppmctl("deploy")
    assert live.serving() == release


def repair(live: Site) -> None:
    """Deploy; then there is nothing left to do."""
    live.ppmctl("deploy")
    assert "nothing to do" in live.ppmctl("deploy").stdout


def planned(live: Site, **options: Any) -> str:
    """Return what the plan shows when something differs."""
    return live.ppmctl("plan", status=3, **options).stdout


def drift(live: Site) -> list[str]:
    """Return what was changed by hand, as the plan has it."""
    [host] = live.json("plan", status=3)["hosts"]
    return [f"{item['what']}: {item['seen']}" for item in host["drift"]]


def color(live: Site) -> str:
    return str(live.json("status")["hosts"][0]["color"])


def replica(live: Site, role: str = "api") -> str:
    """Return the name of a container that serves."""
    label = f"--filter label=ppm.role={role} --filter label=ppm.color={color(live)}"
    return live.root(f"docker ps {label} --format '{{{{.Names}}}}'").splitlines()[0]


def running(live: Site) -> str:
    return live.root("docker ps -q --no-trunc | sort")


def test_a_host_that_is_as_wanted_has_no_differences_and_looking_changes_nothing(live: Site) -> None:
    before, began = untouched(live), live.root("date +%s.%N")

    assert "no differences" in live.ppmctl("plan").stdout

    found = live.json("plan")
    assert (found["environment"], found["changed"]) == (live.name, False)
    assert found["release"] == live.serving()
    assert [(host["name"], host["sections"], host["drift"]) for host in found["hosts"]] == [(live.host.name, [], [])]
    assert untouched(live) == before
    assert live.root(f"docker events --since {began} --until 0s --filter event=create") == "", "a container was started"


def test_a_changed_setting_is_a_diff_that_names_the_release_once(live: Site) -> None:
    serving, before = live.serving(), untouched(live)
    live.configure(app={"log_level": "debug", "rate_limit_per_minute": 77})

    said = planned(live)

    assert '-  LOG_LEVEL: "info"\n+  LOG_LEVEL: "debug"' in said
    assert f"# {live.host.name}: proxy" in said
    assert "+        average: 77" in said
    assert said.count(serving) == 1
    assert "images" not in said
    assert f"ppmctl deploy -e {live.name}" in said
    assert untouched(live) == before


def test_a_rotated_secret_is_shown_by_its_versions_never_by_its_value(live: Site) -> None:
    file = live.folder / "secrets" / "session_secret"
    old = file.read_text()
    new = "not-to-be-seen-by-anybody-" * 2
    file.write_text(f"{new}\n")
    try:
        said = planned(live)
    finally:
        file.write_text(old)

    assert "secret session_secret: version " in said
    assert "not-to-be-seen" not in said
    assert old.strip() not in said


def test_a_migration_is_shown_with_what_it_means_for_the_old_release(live: Site, checkout: Path) -> None:
    revise(checkout, "9998", ADD, before=newest(checkout))

    said = planned(live, checkout=checkout)

    assert "9998 expand: Remember who added a project." in said
    assert "api image: " in said


def test_all_that_was_changed_by_hand_is_shown_at_once_and_repaired_by_one_deploy(live: Site) -> None:
    compose, routes = f"{live.directory}/current/compose.yaml", f"{live.directory}/traefik/dynamic/routes.yaml"
    stopped, limited = replica(live), replica(live, "frontend")
    look = f"cat {compose} {routes}; docker ps -q --no-trunc | sort"
    good = live.root(look)
    live.root(
        f"sed -i 's/LOG_LEVEL: .*/LOG_LEVEL: \"debug\"/' {compose}; touch {live.directory}/current/notes.txt;"
        f"sed -i 's/attempts: [0-9]*/attempts: 2/' {routes};"
        f"docker stop {stopped}; docker update --cpus 0.25 {limited}"
    )

    said = planned(live)

    for words in (
        f"releases/{live.serving()}/compose.yaml: it was edited",
        '-  LOG_LEVEL: "debug"\n+  LOG_LEVEL: "info"',
        "notes.txt: it is not part of the release",
        "traefik/dynamic/routes.yaml: it was edited",
        "-      retry: {attempts: 2,",
        f"{stopped}: it is exited",
        f"{limited}: cpus 0.25, not 0.5",
    ):
        assert words in said, said
    repair(live)
    assert live.root(look) == good, "something was replaced"


@FULL
@pytest.mark.parametrize("how", ["echo 'http: [' >", "rm"])
def test_routes_that_are_broken_or_gone_are_written_anew(live: Site, how: str) -> None:
    path = f"{live.directory}/traefik/dynamic/routes.yaml"
    good = live.root(f"cat {path}")
    before = running(live)
    live.root(f"{how} {path}")

    assert drift(live)[0].startswith("traefik/dynamic/routes.yaml: it ")
    repair(live)
    assert live.root(f"cat {path}") == good
    assert running(live) == before


@FULL
def test_limits_changed_with_docker_update_are_shown_and_set_back_while_it_runs(live: Site) -> None:
    name, before = replica(live), running(live)
    live.root(f"docker update --memory 300m --memory-swap 400m --cpus 0.5 --restart no {name}")
    live.root(f"docker update --pids-limit 77 ppm-{live.name}-reverse-proxy-1")

    said = planned(live)

    assert f"{name}: memory 300.0MiB, not 256.0MiB, memory swap 400.0MiB" in said
    assert "cpus 0.5, not 1.0, restart no, not unless-stopped" in said
    assert "reverse-proxy-1: pids 77, not 256" in said
    repair(live)
    assert running(live) == before


@pytest.mark.parametrize(
    ("done", "seen"),
    [
        pytest.param("stop", "it is exited", marks=FULL),
        pytest.param("pause", "it is paused", marks=FULL),
        pytest.param("rm -f", "1 of 2 containers are missing", marks=FULL),
    ],
)
def test_a_replica_that_was_stopped_or_taken_away_is_shown_and_brought_back(live: Site, done: str, seen: str) -> None:
    name = replica(live)
    live.root(f"docker {done} {name}")

    assert [line for line in drift(live) if seen in line]
    repair(live)
    assert eventually(lambda: "unhealthy" not in live.root("docker ps"), 180)  # its next health check says so


@pytest.mark.timeout(200)
def test_containers_made_by_hand_give_way_to_the_other_color_and_no_request_is_lost(live: Site) -> None:
    before, name = color(live), replica(live)
    live.root(
        f"sed 's/LOG_LEVEL: .*/LOG_LEVEL: debug/' {live.directory}/current/compose.yaml > /tmp/mine.yaml;"
        f"docker compose -p ppm-{live.name} -f /tmp/mine.yaml up -d --no-deps api-{before}"
    )
    assert [line for line in drift(live) if line.startswith(f"{name}: environment LOG_LEVEL")]

    with losing_nothing(live):
        live.ppmctl("deploy")

    assert color(live) != before


@FULL
def test_a_secret_edited_on_the_host_is_shown_without_its_value_and_put_right(live: Site) -> None:
    file = live.root(f"ls {live.directory}/secrets/session_secret/*")
    good = live.root(f"cat {file}")
    live.root(f"chmod u+w {file}; printf %s {'another-value-' * 4} > {file}")

    said = planned(live)

    assert "its content is not that of this version" in said
    assert "another-value" not in said
    assert good not in said
    repair(live)
    assert live.root(f"cat {file}; stat -c ' %a %u' {file}") == f"{good} 400 10001"
    assert live.root(f"docker exec {replica(live)} cat /run/secrets/session_secret") == good


def test_a_container_that_is_none_of_the_stack_is_shown_and_left_alone(live: Site) -> None:
    image = live.root(f"docker inspect -f '{{{{.Image}}}}' {replica(live)}")
    live.root(f"docker run -d --name lodger --network ppm-{live.name}_edge {image} sleep 600")
    try:
        said = planned(live)
        assert "lodger: it is not part of the stack" in said
        assert "docker rm -f lodger" in said
        assert "nothing to do" in live.ppmctl("deploy").stdout
    finally:
        live.root("docker rm -f lodger")


def test_a_host_setting_that_was_changed_is_shown(live: Site) -> None:
    live.root(f"chmod 777 {live.directory}/releases")

    said = planned(live)

    assert f"# {live.host.name}: host settings\n  ppm | Directory {live.directory}/releases" in said
    assert f"ppmctl provision -e {live.name}" in said
    live.ppmctl("provision")


def test_a_host_that_cannot_be_reached_is_named_beside_those_that_can(live: Site, tmp_path: Path) -> None:
    live.configure(hosts=[*live.values["hosts"], {"name": "dead", "address": "127.0.0.1", "port": 9}])

    done = live.ppmctl("plan", "--out", str(tmp_path / "plan.json"), status=1)

    assert "! dead: no SSH connection" in done.stdout
    assert not (tmp_path / "plan.json").exists()


def test_a_saved_plan_is_done_exactly(live: Site, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    live.configure(app={"scan_interval_minutes": 41})

    live.ppmctl("plan", "--out", str(file), status=3)

    assert file.stat().st_mode & 0o777 == 0o600
    done = json.loads(live.ppmctl("deploy", "--plan", str(file), "--json").stdout)
    assert done["release"] == json.loads(file.read_text())["release"] == live.serving()
    says(live.ppmctl("deploy", "--plan", str(file), status=1), "the plan no longer holds", "the live color was")


@FULL
def test_a_saved_plan_is_refused_after_the_configuration_changed(live: Site, tmp_path: Path) -> None:
    file, before = tmp_path / "plan.json", untouched(live)
    live.configure(app={"scan_interval_minutes": 42})
    live.ppmctl("plan", "--out", str(file), status=3)
    live.configure(app={"scan_interval_minutes": 43})

    done = live.ppmctl("deploy", "--plan", str(file), status=1)

    says(done, "nothing was changed", "the plan is for", f"ppmctl plan -e {live.name} --out")
    assert untouched(live) == before


def test_a_saved_plan_is_refused_after_the_host_changed(live: Site, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    live.configure(app={"scan_interval_minutes": 44})
    live.ppmctl("plan", "--out", str(file), status=3)
    name = replica(live)
    live.root(f"docker stop {name}")
    before = untouched(live)

    done = live.ppmctl("deploy", "--plan", str(file), status=1)

    says(done, "nothing was changed", f"new: {name}: it is exited")
    assert untouched(live) == before


def test_what_is_no_plan_or_one_of_another_environment_is_refused(live: Site, bare: Site, tmp_path: Path) -> None:
    file, before = tmp_path / "plan.json", untouched(live)
    bare.ppmctl("plan", "--out", str(file), status=3)
    assert "first deployment" in planned(bare)

    says(live.ppmctl("deploy", "--plan", str(file), status=2), f"is a plan of {bare.name}, not of {live.name}")
    file.write_text("{ garbage")
    says(live.ppmctl("deploy", "--plan", str(file), status=2), "is not a plan")
    says(live.ppmctl("deploy", "--plan", str(tmp_path / "none"), status=2), "cannot read")
    assert untouched(live) == before
