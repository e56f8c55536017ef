"""A list of many projects: tags, archive, search, order, pages; changes; the history of scans and runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx import Client
from sqlalchemy import event, text

from app.database import Database
from app.models import JobRun, Project, Scan, now
from app.worker.heartbeat import HEARTBEAT
from tests.unit.app.test_projects import problem


def url(name: str) -> str:
    return f"https://git.example.org/{name}.git"


def add(client: Client, name: str, **more: Any) -> int:
    answer = client.post("/api/projects", json={"url": url(name), "name": name, **more})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def names(client: Client, **query: Any) -> list[str]:
    answer = client.get("/api/projects", params=query)
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


def change(client: Client, id: int, **changes: Any) -> dict[str, Any]:
    answer = client.patch(f"/api/projects/{id}", json=changes)
    assert answer.status_code == 200, answer.text
    project: dict[str, Any] = answer.json()
    return project


def test_tags_are_written_small_once_and_in_order(client: Client) -> None:
    id = add(client, "tool", tags=["Web", " python", "web"])

    assert client.get(f"/api/projects/{id}").json()["tags"] == ["python", "web"]
    assert client.get("/api/projects").json()["items"][0]["tags"] == ["python", "web"]


def test_projects_are_found_by_tag_name_and_address(client: Client) -> None:
    add(client, "alpha", tags=["web"])
    add(client, "beta", tags=["web", "old"])
    add(client, "50%")

    assert names(client, tag="web") == ["alpha", "beta"]
    assert names(client, tag="old") == ["beta"]
    assert names(client, q="ALPH") == ["alpha"]
    assert names(client, q="example.org/be") == ["beta"]
    assert names(client, q="0%") == ["50%"]
    assert names(client, q="none") == []


def test_a_search_that_finds_many_and_one_that_finds_few_are_ordered_and_counted_alike(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("c", "a", "b"):
        add(client, name, tags=["web"])
    add(client, "d")

    for few in (0, 500):
        monkeypatch.setattr("app.api.listing.FEW", few)
        page = client.get("/api/projects", params={"q": "EXAMPLE", "tag": "web", "sort": "-name", "limit": 2}).json()
        assert ([item["name"] for item in page["items"]], page["total"]) == (["c", "b"], 3)


@pytest.mark.sqlite
def test_a_search_reads_an_index_and_not_every_project(client: Client, database: Database) -> None:
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: asked.append((args[2], args[3])))

    names(client, q="tool")

    [(statement, values)] = [found for found in asked if "LIKE" in found[0]]
    with database.connection() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert plan == ["SEARCH projects USING COVERING INDEX ix_projects_archived_id_name_url (archived=?)"]


def test_tags_are_listed_with_how_many_projects_have_them(client: Client) -> None:
    add(client, "alpha", tags=["web"])
    add(client, "beta", tags=["old", "web"])
    change(client, add(client, "gone", tags=["web"]), archived=True)

    assert client.get("/api/tags").json() == [{"tag": "old", "projects": 1}, {"tag": "web", "projects": 2}]


def test_an_archived_project_is_listed_only_when_asked_for_and_can_come_back(client: Client) -> None:
    id = add(client, "tool")

    assert change(client, id, archived=True)["archived"] is True
    assert (names(client), names(client, archived=True)) == ([], ["tool"])
    assert problem(client.post(f"/api/projects/{id}/scan"), 409)["detail"].startswith(f"project {id} is archived")

    change(client, id, archived=False)
    assert names(client) == ["tool"]


@pytest.mark.parametrize("sort", ["created", "name", "last_commit", "commits", "scanned"])
def test_the_list_is_ordered_by_each_column_in_both_directions(client: Client, database: Database, sort: str) -> None:
    for name in ("b", "a", "c"):
        add(client, name)
    with database.write() as session:
        for project, rank in zip(session.query(Project).order_by(Project.name), (2, 3, None), strict=True):
            time = datetime(2026, 1, rank, tzinfo=UTC) if rank else None
            project.commits, project.last_commit_at, project.scanned_at = rank, time, time
    expected = {"created": ["b", "a", "c"], "name": ["a", "b", "c"]}.get(sort, ["c", "a", "b"])

    assert names(client, sort=sort) == expected
    assert names(client, sort=f"-{sort}") == expected[::-1]


@pytest.mark.sqlite
@pytest.mark.parametrize("sort", ["created", "-name", "last_commit", "-commits", "-scanned"])
def test_no_order_of_the_list_sorts_or_reads_every_project(client: Client, database: Database, sort: str) -> None:
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: asked.append((args[2], args[3])))

    names(client, sort=sort)

    [(statement, values)] = [found for found in asked if "ORDER BY projects" in found[0]]
    with database.connection() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    tags = plan.index("CORRELATED SCALAR SUBQUERY 1")
    assert plan[:tags]
    assert all(step.startswith("SEARCH projects USING INDEX ix_projects_archived_") for step in plan[:tags])
    key = "sqlite_autoindex_project_tags_1"
    assert plan[tags + 1 :] == [f"SEARCH project_tags USING COVERING INDEX {key} (project_id=?)"]


def test_a_list_costs_as_many_statements_whatever_its_length(client: Client, database: Database) -> None:
    counts = []
    for number in range(3):
        add(client, f"p{number}", tags=["a", "b"])
        asked: list[str] = []
        listener = lambda *args, asked=asked: asked.append(args[2])  # noqa: E731
        event.listen(database.engine, "before_cursor_execute", listener)
        names(client)
        event.remove(database.engine, "before_cursor_execute", listener)
        counts.append(len(asked))

    assert len(set(counts)) == 1


def test_a_change_leaves_what_it_does_not_name(client: Client) -> None:
    id = add(client, "tool", tags=["web"])

    assert change(client, id, name="other")["tags"] == ["web"]
    changed = change(client, id, tags=["web", "new"])
    assert (changed["name"], changed["url"], changed["tags"]) == ("other", url("tool"), ["new", "web"])
    assert client.get(f"/api/projects/{id}").json() == changed
    assert change(client, id, tags=[])["tags"] == []


def test_another_address_is_scanned_soon(client: Client, database: Database) -> None:
    id = add(client, "tool")
    with database.write() as session:
        session.get_one(Project, id).scan_due_at = now() + timedelta(days=1)
        session.get_one(Project, id).scan_failures = 5

    due = change(client, id, url=url("moved"))["scan_due_at"]

    assert datetime.fromisoformat(due) <= now()
    with database.read() as session:
        assert session.get_one(Project, id).scan_failures == 0


def test_a_scan_can_be_asked_for(client: Client, database: Database) -> None:
    id = add(client, "tool")
    with database.write() as session:
        session.get_one(Project, id).scan_due_at = now() + timedelta(days=1)

    answer = client.post(f"/api/projects/{id}/scan")

    assert answer.status_code == 202
    assert datetime.fromisoformat(answer.json()["scan_due_at"]) <= now()


def test_a_change_to_what_another_project_has_names_that_one(client: Client) -> None:
    first, second = add(client, "first"), add(client, "second")

    for changes in ({"name": "first"}, {"url": url("first")}):
        assert problem(client.patch(f"/api/projects/{second}", json=changes), 409)["existing"] == first
    assert names(client) == ["first", "second"]


@pytest.mark.parametrize(
    "sent", [{"unknown": 1}, {"tags": ["a b"]}, {"tags": ["x"] * 21}, {"url": "file:///etc"}, {"name": " "}]
)
def test_a_change_that_makes_no_sense_is_refused(client: Client, sent: dict[str, Any]) -> None:
    id = add(client, "tool")

    problem(client.patch(f"/api/projects/{id}", json=sent), 422)


def test_what_is_not_there_cannot_be_changed_or_scanned(client: Client) -> None:
    problem(client.patch("/api/projects/7", json={"name": "x"}), 404)
    problem(client.post("/api/projects/7/scan"), 404)
    problem(client.get("/api/projects/7/scans"), 404)


def test_activity_is_the_year_to_this_week(client: Client, database: Database) -> None:
    id = add(client, "tool")
    today = now().date()
    monday = today - timedelta(days=today.weekday())
    with database.write() as session:
        session.get_one(Project, id).activity = {
            monday.isoformat(): 3,
            (monday - timedelta(weeks=51)).isoformat(): 5,
            (monday - timedelta(weeks=52)).isoformat(): 7,
        }

    activity = client.get(f"/api/projects/{id}").json()["activity"]

    assert (len(activity), activity[0], activity[-1], sum(activity)) == (52, 5, 3, 8)


def test_the_history_of_scans_comes_in_slices_the_newest_first(client: Client, database: Database) -> None:
    id = add(client, "tool")
    with database.write() as session:
        times = {"started_at": now(), "finished_at": now()}
        session.add_all(Scan(project_id=id, commits=number, **times) for number in range(5))

    first = client.get(f"/api/projects/{id}/scans", params={"limit": 3}).json()
    second = client.get(f"/api/projects/{id}/scans", params={"limit": 3, "before": first["next"]}).json()

    assert [scan["commits"] for scan in first["items"]] == [4, 3, 2]
    assert ([scan["commits"] for scan in second["items"]], second["next"]) == ([1, 0], None)


def test_runs_are_found_by_job_outcome_and_project(client: Client, database: Database) -> None:
    id = add(client, "tool")
    fixed = {"worker": "w", "release": "r", "started_at": now(), "finished_at": now()}
    with database.write() as session:
        for job, outcome, project in (
            ("scan", "ok", id),
            (HEARTBEAT, "ok", None),
            ("scan", "failed", None),
            ("clean", "ok", None),
        ):
            session.add(JobRun(job=job, outcome=outcome, project_id=project, **fixed))
            session.flush()

    def runs(**query: Any) -> list[str]:
        found = client.get("/api/runs", params=query).json()["items"]
        return [f"{run['job']} {run['outcome']}" for run in found]

    assert runs() == ["clean ok", "scan failed", "scan ok"]
    assert runs(job="scan") == ["scan failed", "scan ok"]
    assert runs(outcome="failed") == ["scan failed"]
    assert runs(project_id=id) == ["scan ok"]
    assert len(runs(limit=1)) == 1
    assert client.get("/api/runs", params={"limit": 2}).json()["next"] == 3


def test_the_release_before_can_still_add_a_project_and_a_token(client: Client, database: Database) -> None:
    with database.write() as session:
        time = {"time": now().isoformat()}
        project = "INSERT INTO projects (name, url, created_at, scan_due_at) VALUES ('old', 'git://o/x', :time, :time)"
        session.execute(text(project), time)
        session.execute(text("INSERT INTO tokens (name, sha256, created_at) VALUES ('old', 'x', :time)"), time)

    assert names(client) == ["old"]
    assert client.get("/api/tokens").json()[-1]["scope"] == "write"
