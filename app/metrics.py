"""The metrics of the processes, for Prometheus.

The api serves them at `/metrics`, to which the proxy has no route; the worker on a separate port, if one is set.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool

from app.database import Database

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

RELEASE = Info("ppm_release", "The running release.")
REQUESTS = Counter("ppm_http_requests", "Answered requests.", ("method", "route", "status"))
LATENCY = Histogram("ppm_http_request_seconds", "Time until the response begins.", ("route",), buckets=_QUICK)
IN_FLIGHT = Gauge("ppm_http_requests_in_flight", "Requests whose response has not ended, including streams.")
WRITE_WAIT = Histogram("ppm_database_write_wait_seconds", "Time that a writer waited for its turn.", buckets=_QUICK)
JOBS = Histogram("ppm_job_seconds", "Duration of the worker's job runs.", ("job", "outcome"), buckets=_SLOW)
SCANS = Histogram("ppm_scan_seconds", "Duration of repository scans.", ("outcome",), buckets=_SLOW)
DUE = Gauge("ppm_scans_due", "Projects that are due for a scan.")


class _Pool(Collector):
    """The database connections, read at each scrape."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the number of connections in use, and the maximum number."""
        pool = self.database.engine.pool
        if isinstance(pool, QueuePool):
            family = GaugeMetricFamily(
                "ppm_database_connections", "Database connections of this process.", labels=["state"]
            )
            family.add_metric(["used"], pool.checkedout())
            family.add_metric(["most"], pool.size())
            yield family


def watch(database: Database, release: str) -> None:
    """Record a process's use of its database, until it ends."""
    RELEASE.info({"release": release})
    database.waited = WRITE_WAIT.observe
    REGISTRY.register(_Pool(database))
