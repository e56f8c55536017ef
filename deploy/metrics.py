"""What Traefik has counted of its answers, service by service. Parsing and subtracting are pure."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from deploy.config import Model
from deploy.errors import UpgradeError

if TYPE_CHECKING:
    from deploy.host import Host

K = TypeVar("K")
_POLL = 0.1
_DURATIONS = "traefik_service_request_duration_seconds_bucket"


class Counts(Model):
    """Answers of one service."""

    answers: dict[str, int]
    """By class of status: {"2xx": 228, "5xx": 12}. A refused connection counts as a 502."""
    within: dict[float, int]
    """{seconds: how many took no longer}; the bounds are the proxy's, the last one is infinite."""

    @property
    def total(self) -> int:
        """How many answers."""
        return sum(self.answers.values())

    @property
    def errors(self) -> int:
        """How many of them were the server's fault."""
        return self.answers.get("5xx", 0)


NOTHING = Counts(answers={}, within={})
Reading = Mapping[str, Counts]
"""{service: what was counted since the proxy started, or since it knows the service}."""


@dataclass
class Tally:
    """What each service answered from the first reading to the last.

    The proxy counts from zero again when it restarts, and forgets a service that its routes no longer name. What
    it counted between the last reading and that moment is lost; the more readings, the less.
    """

    last: Reading | None = None
    """Readings that are added count from this one on; None: from the first that is added."""
    _counts: dict[str, Counts] = field(default_factory=dict)

    def add(self, reading: Reading) -> None:
        """Count on."""
        before = reading if self.last is None else self.last
        for service, counts in reading.items():
            more = _difference(before.get(service, NOTHING), counts)
            self._counts[service] = _sum(self.of(service), more)
        self.last = reading

    def of(self, service: str) -> Counts:
        """Return the counts of a service."""
        return self._counts.get(service, NOTHING)


def read(host: Host) -> Reading:
    """Return what the proxy has counted. One that is restarting is waited for; raises UpgradeError after a while."""
    import httpx

    deadline = time.monotonic() + host.environment.upgrade.switch_timeout.total_seconds()
    while True:
        try:
            answer = host.internal.get("/metrics")
            if answer.status_code == 200:
                return parse(answer.text)
            seen = f"GET /metrics: status {answer.status_code}"
        except httpx.HTTPError as error:
            seen = f"GET /metrics: {type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            raise UpgradeError(f"{host.name}: the proxy's metrics cannot be read", host=host.name, seen=seen)
        host.rest(_POLL)


def parse(text: str) -> Reading:
    """Given Prometheus' text format, return the reading.

    Traefik's histogram of durations has a label with the status, so it tells errors and latencies both.
    """
    from prometheus_client.parser import text_string_to_metric_families

    answers: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    within: dict[str, dict[float, int]] = defaultdict(lambda: defaultdict(int))
    lines = "\n".join(line for line in text.splitlines() if line.startswith(_DURATIONS))
    for family in text_string_to_metric_families(f"{lines}\n"):
        for sample in family.samples:
            service, bound = sample.labels["service"].removesuffix("@file"), float(sample.labels["le"])
            within[service][bound] += int(sample.value)
            if bound == float("inf"):
                answers[service][f"{sample.labels['code'][:1]}xx"] += int(sample.value)
    return {service: Counts(answers=answers[service], within=within[service]) for service in within}


def _difference(before: Counts, after: Counts) -> Counts:
    if _fell(before.answers, after.answers) or _fell(before.within, after.within):
        return after
    return Counts(
        answers={key: count - before.answers.get(key, 0) for key, count in after.answers.items()},
        within={bound: count - before.within.get(bound, 0) for bound, count in after.within.items()},
    )


def _fell(before: Mapping[K, int], after: Mapping[K, int]) -> bool:
    return any(after.get(key, 0) < count for key, count in before.items())


def _sum(one: Counts, two: Counts) -> Counts:
    return Counts(answers=_added(one.answers, two.answers), within=_added(one.within, two.within))


def _added(one: Mapping[K, int], two: Mapping[K, int]) -> dict[K, int]:
    return {key: one.get(key, 0) + two.get(key, 0) for key in one.keys() | two.keys()}
