"""What can be seen from outside of a running process: request ids, logs, metrics."""

from __future__ import annotations

import json
import logging
import queue
import re

import pytest
from httpx import Client
from prometheus_client.parser import text_string_to_metric_families

from app import logs
from app.database import Database
from app.settings import Settings


def counted(client: Client, name: str, **labels: str) -> float:
    """Return the value of a metric; 0 when it is not there."""
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0


def line(settings: Settings, **more: object) -> str:
    """Return the line that is made of a record."""
    record = logging.makeLogRecord({"name": "app.x", "levelname": "INFO", "msg": "said %s", "args": ("so",), **more})
    return logs.formatter(settings).format(record)


def test_an_answer_has_an_id_that_its_request_may_choose(anonymous: Client) -> None:
    made = anonymous.get("/healthz").headers["X-Request-Id"]

    assert re.fullmatch("[0-9a-f]{16}", made)
    assert anonymous.get("/healthz", headers={"X-Request-Id": "trace-12345"}).headers["X-Request-Id"] == "trace-12345"


@pytest.mark.parametrize("id", ["short", "x" * 65, "two words", 'a"b"c"d"e'])
def test_what_is_no_id_is_replaced(anonymous: Client, id: str) -> None:
    assert anonymous.get("/healthz", headers={"X-Request-Id": id}).headers["X-Request-Id"] != id


def test_a_request_is_logged_with_its_id_and_without_its_query(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "app.access"):
        answer = client.get("/api/projects", params={"q": "confidential"})

    [record] = [record for record in caplog.records if record.name == "app.access"]
    assert vars(record)["request_id"] == answer.headers["X-Request-Id"]
    assert (vars(record)["route"], vars(record)["path"], vars(record)["status"]) == ("/api/projects",) * 2 + (200,)
    assert "confidential" not in str(vars(record))


def test_health_checks_do_not_fill_the_log(anonymous: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "app.access"):
        for path in ("/healthz", "/readyz", "/metrics"):
            anonymous.get(path)

    assert caplog.records == []


def test_requests_are_counted_by_route_not_by_path(client: Client) -> None:
    labels = {"method": "GET", "route": "/api/projects/{id}", "status": "404"}
    before = counted(client, "ppm_http_requests_total", **labels)

    for id in (1, 2, 3):
        client.get(f"/api/projects/{id}")

    assert counted(client, "ppm_http_requests_total", **labels) - before == 3
    assert counted(client, "ppm_http_request_seconds_count", route="/api/projects/{id}") >= 3
    assert counted(client, "ppm_http_requests_in_flight") == 1


def test_paths_and_methods_that_are_not_ours_are_one_series(anonymous: Client) -> None:
    labels = {"route": "unmatched", "status": "404"}
    before = counted(anonymous, "ppm_http_requests_total", method="other", **labels)

    for word in ("BREW", "WHEN"):
        anonymous.request(word, f"/{word}")

    assert counted(anonymous, "ppm_http_requests_total", method="other", **labels) - before == 2


def test_a_crash_is_counted_and_logged(client: Client, database: Database, caplog: pytest.LogCaptureFixture) -> None:
    client.post("/api/projects", json={"url": "https://git.example.org/tool"})
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE projects SET created_at = 'no date'")
    labels = {"method": "GET", "route": "/api/projects", "status": "500"}
    before = counted(client, "ppm_http_requests_total", **labels)

    with caplog.at_level(logging.INFO, "app.access"):
        client.get("/api/projects")

    assert counted(client, "ppm_http_requests_total", **labels) - before == 1
    assert [vars(record)["status"] for record in caplog.records if record.name == "app.access"] == [500]


def test_metrics_are_not_among_the_pages_of_the_api(anonymous: Client) -> None:
    assert "/metrics" not in anonymous.get("/api/openapi.json").json()["paths"]
    assert anonymous.get("/api/metrics").status_code == 404


def test_a_line_of_the_log_is_json(settings: Settings) -> None:
    found = json.loads(line(settings, status=200))

    assert (found["event"], found["level"], found["logger"], found["status"]) == ("said so", "info", "app.x", 200)
    assert found["time"].endswith("Z")


def test_an_error_is_part_of_its_line(settings: Settings) -> None:
    found = line(settings, exc_info=(ValueError, ValueError("two\nlines"), None))

    assert "\n" not in found
    assert "ValueError: two" in json.loads(found)["exception"]


def test_in_development_a_line_is_for_people(settings: Settings) -> None:
    assert "said so" in line(settings.model_copy(update={"app_env": "development"}))


def test_nobody_waits_for_a_log_that_nobody_reads() -> None:
    handler = logs._Handler(queue.Queue(2))

    for number in range(5):
        handler.handle(logging.makeLogRecord({"msg": number}))

    assert handler.queue.qsize() == 2
