"""What the processes count, for Prometheus.

The api shows it at `/metrics`, which the proxy sends nobody to; the worker at a port of its own, if it is given one.
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

RELEASE = Info("ppm_release", "What runs.")
REQUESTS = Counter("ppm_http_requests", "Requests that were answered.", ("method", "route", "status"))
LATENCY = Histogram("ppm_http_request_seconds", "Until an answer begins.", ("route",), buckets=_QUICK)
IN_FLIGHT = Gauge("ppm_http_requests_in_flight", "Requests that are not answered to their end, streams too.")
WRITE_WAIT = Histogram("ppm_database_write_wait_seconds", "How long a writer waited for its turn.", buckets=_QUICK)
JOBS = Histogram("ppm_job_seconds", "Runs of the worker's jobs.", ("job", "outcome"), buckets=_SLOW)
SCANS = Histogram("ppm_scan_seconds", "Scans of repositories.", ("outcome",), buckets=_SLOW)
DUE = Gauge("ppm_scans_due", "Projects whose time to be scanned has come.")


class _Pool(Collector):
    """The connections to the database, when asked."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield how many connections are in use, and how many there may be."""
        pool = self.database.engine.pool
        if isinstance(pool, QueuePool):
            family = GaugeMetricFamily("ppm_database_connections", "Connections of this process.", labels=["state"])
            family.add_metric(["used"], pool.checkedout())
            family.add_metric(["most"], pool.size())
            yield family


def watch(database: Database, release: str) -> None:
    """Count what a process does with its database, until it ends."""
    RELEASE.info({"release": release})
    database.waited = WRITE_WAIT.observe
    REGISTRY.register(_Pool(database))
