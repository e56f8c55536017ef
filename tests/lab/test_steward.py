"""The steward as a service on a real host: its first backup, through an upgrade and a restore, and what status says."""

from __future__ import annotations

from typing import Any

from bench.ledger import load
from tests.support.site import Site
from tests.support.waiting import eventually


def steward(live: Site) -> str:
    """Return the id of its container, and since when it runs."""
    found = live.root(
        "docker ps -q --no-trunc --filter label=ppm.role=steward --filter label=com.docker.compose.oneoff=False"
    )
    return live.root(f"docker inspect -f '{{{{.Id}}}} {{{{.State.StartedAt}}}}' {found}")


def containers(live: Site) -> str:
    """Return what else runs there, and since when."""
    return live.root(
        "docker inspect -f '{{.Name}} {{.State.StartedAt}}' $(docker ps -aq --filter label=ppm.role) | grep -v steward"
    )


def told(live: Site) -> dict[str, Any]:
    status = live.json("status")
    assert status["healthy"], status["problems"]
    found: dict[str, Any] = status["hosts"][0]["backups"]
    return found


def test_it_backs_up_by_itself_an_upgrade_leaves_it_alone_and_a_restore_excludes_it(live: Site) -> None:
    # What other tests have made goes: it finds none, as after the first deploy.
    live.root(f"rm -rf {live.directory}/backups/2*; docker restart {steward(live).split()[0]}")
    assert eventually(lambda: [each["kind"] for each in live.json("backup list")] == ["nightly"], 180)
    [first] = live.json("backup list")
    assert eventually(lambda: told(live)["last_backup"]["id"] == first["id"], 180)
    assert told(live)["last_backup"]["verified"]
    before = steward(live)

    live.configure(app={"scan_interval_minutes": 471})
    live.ppmctl("deploy")
    assert steward(live) == before

    token = live.token("steward")
    made = live.json("backup create")["id"]
    with load(live.url, token, rate=20, connections=6) as running:
        done = live.json("restore", made, "--yes")
        assert running.stop().failures == []
    after = steward(live)
    assert done["outcome"] == "ok"
    assert after.split()[0] == before.split()[0], "it is the same container"
    assert after != before, "it stood still while the backup took the database's place"
    assert eventually(lambda: (told(live)["last_proven"] or {}).get("id") == made, 180)
    assert told(live)["last_drill"]["rto_seconds"] > 0

    live.configure(app={"scan_interval_minutes": 471}, backup={"at": ["03:10"]})
    release, others = live.serving(), containers(live)
    assert '"03:10"' in live.ppmctl("plan", status=3).stdout
    done = live.json("deploy")
    assert [step["name"] for step in done["steps"]] == ["place", "steward"]
    assert done["steps"][1]["outcome"].startswith("restarted with new settings; the next backup is due at ")
    assert (live.serving(), containers(live)) == (release, others), "nothing else was touched"
    assert steward(live).split()[0] == before.split()[0]
    assert steward(live) != after
    assert "T03:10:00" in told(live)["next_backup"]
    words = live.ppmctl("status").stdout
    assert f"backup  {made}" in words
    assert "drill" in words
    assert "no differences" in live.ppmctl("plan").stdout
    live.configure()
    live.ppmctl("deploy")
