"""The ledger: a client that loads the application and records every acknowledged write.

The load is open: requests are due at a fixed rate, and a latency is measured from the time when the request was due, so
that a stall counts for every request that it delays (Gil Tene, "How NOT to Measure Latency"). Half of the requests
write, half read. In addition, one request of 2 s (a slow upload) is in flight at all times, and one event stream. Run
it as a process: it prints one JSON report when its standard input closes.

It represents users, who are on other machines, so if allowed (as root) it runs before all other processes on this
machine. Otherwise it would measure how long it waits for the CPU itself: half a second, while containers start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

SLOW_SECONDS = 2.0
RETRY_SECONDS = 0.5
"""How long to wait before reopening a broken stream, as a browser does; without it, a closed port counts thousands."""
_TIMEOUT = aiohttp.ClientTimeout(total=60)


@dataclass
class Report:
    """What the client measured. Latencies are in milliseconds; a sample is (second since start, latency, method)."""

    requests: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    samples: list[tuple[float, float, str]] = field(default_factory=list)
    slow: int = 0
    events: int = 0
    reconnects: int = 0
    acknowledged: list[str] = field(default_factory=list)
    releases: dict[str, int] = field(default_factory=dict)
    started: float = 0.0
    """Seconds of the system's monotonic clock, to relate the samples to other times."""
    urgent: bool = False
    """Whether the client ran before all other processes. If not, latencies include its own waits for the CPU."""

    def percentile(
        self, share: float, begin: float = 0, end: float = float("inf"), methods: tuple[str, ...] = ("GET", "POST")
    ) -> float:
        """Return a percentile of the latency, in ms, of the requests due between two seconds."""
        inside = sorted(latency for due, latency, method in self.samples if begin <= due < end and method in methods)
        return inside[min(len(inside) - 1, int(len(inside) * share))] if inside else float("nan")

    @property
    def longest(self) -> float:
        """The longest latency in ms, except for the slow uploads."""
        return max((latency for _, latency, _ in self.samples), default=float("nan"))


class Client:
    """One run of the load."""

    def __init__(self, url: str, token: str, rate: float, connections: int, *, slow: bool = True) -> None:
        self.url, self.rate, self.connections, self.slow = url, rate, connections, slow
        self.headers = {"Authorization": f"Bearer {token}"}
        self.report = Report(started=time.monotonic())
        self.stop = asyncio.Event()
        self._next = 0

    async def run(self) -> Report:
        """Load the application until ``stop`` is set; return the report."""
        connector = aiohttp.TCPConnector(limit=self.connections + 2)
        async with aiohttp.ClientSession(
            self.url, connector=connector, timeout=_TIMEOUT, headers=self.headers
        ) as session:
            workers = [self._worker(session) for _ in range(self.connections)]
            uploads = [self._slow(session)] if self.slow else []
            await asyncio.gather(*workers, *uploads, self._stream(session))
        return self.report

    async def _worker(self, session: aiohttp.ClientSession) -> None:
        while not self.stop.is_set():
            number, self._next = self._next, self._next + 1
            due = self.report.started + number / self.rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if number % 2:
                await self._count(session.get("/api/projects", params={"limit": 10}), due)
            else:
                await self._write(session, due)

    async def _write(self, session: aiohttp.ClientSession, due: float) -> None:
        name = uuid.uuid4().hex
        project = {"name": name, "url": f"https://git.example.org/{name}.git"}
        if await self._count(session.post("/api/projects", json=project), due):
            self.report.acknowledged.append(name)

    async def _slow(self, session: aiohttp.ClientSession) -> None:
        """Always keep one request in flight whose body takes two seconds to arrive."""
        while not self.stop.is_set():
            name = uuid.uuid4().hex
            body = json.dumps({"name": name, "url": f"https://git.example.org/{name}.git"}).encode()

            async def trickle(body: bytes = body) -> AsyncIterator[bytes]:
                yield body[:10]
                await asyncio.sleep(SLOW_SECONDS)
                yield body[10:]

            post = session.post("/api/projects", data=trickle(), headers={"Content-Type": "application/json"})
            if await self._count(post, None):
                self.report.slow += 1
                self.report.acknowledged.append(name)
            else:
                await asyncio.sleep(RETRY_SECONDS)

    async def _stream(self, session: aiohttp.ClientSession) -> None:
        """Read events. Reopen a stream that ends, as a browser does. Count a stream that breaks as a failure."""
        while not self.stop.is_set():
            try:
                async with session.get("/api/events", timeout=aiohttp.ClientTimeout(total=None)) as answer:
                    if answer.status != 200:
                        self._fail(f"GET /api/events: {answer.status}")
                        await asyncio.sleep(RETRY_SECONDS)
                        continue
                    while not self.stop.is_set():
                        async with asyncio.timeout(10):
                            line = await answer.content.readline()
                        if not line:
                            self.report.reconnects += 1
                            break
                        self.report.events += line.startswith(b"data:")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._fail(f"GET /api/events: {type(error).__name__}: {error}")
                await asyncio.sleep(RETRY_SECONDS)

    async def _count(self, request: Any, due: float | None) -> bool:
        self.report.requests += 1
        try:
            async with request as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._fail(f"{type(error).__name__}: {error}")
            return False
        if due is not None:
            latency = (time.monotonic() - due) * 1000
            self.report.samples.append((due - self.report.started, latency, answer.method))
        release = answer.headers.get("X-PPM-Release", "none")
        self.report.releases[release] = self.report.releases.get(release, 0) + 1
        if answer.status >= 300:
            self._fail(f"{answer.method} {answer.url.path}: {answer.status} {body[:200]!r}")
            return False
        return True

    def _fail(self, what: str) -> None:
        self.report.failed += 1
        if len(self.report.failures) < 20:
            self.report.failures.append(f"{time.monotonic() - self.report.started:.2f} s: {what}")


async def lost(url: str, token: str, acknowledged: list[str]) -> set[str]:
    """Return the acknowledged writes that the application does not have."""
    stored: set[str] = set()
    offset = 0
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as session:
        while True:
            async with session.get("/api/projects", params={"limit": 200, "offset": offset}) as answer:
                answer.raise_for_status()
                items = (await answer.json())["items"]
            stored |= {item["name"] for item in items}
            offset += len(items)
            if not items:
                return set(acknowledged) - stored


class Running:
    """A load that runs in a separate process; :meth:`stop` ends it and returns the report."""

    def __init__(self, url: str, token: str, rate: float, connections: int, *, slow: bool = True) -> None:
        argv = [
            sys.executable,
            "-m",
            "bench.ledger",
            url,
            "--rate",
            str(rate),
            "--connections",
            str(connections),
            *([] if slow else ["--no-slow"]),
        ]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
        )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{token}\n")
        self._process.stdin.flush()
        self._report: Report | None = None

    def stop(self) -> Report:
        """End the load; return its report."""
        if self._report is None:
            out, _ = self._process.communicate(timeout=90)
            self._report = Report(**json.loads(out))
        return self._report


@contextmanager
def load(url: str, token: str, *, rate: float = 500, connections: int = 10, slow: bool = True) -> Iterator[Running]:
    """Load the application until the block ends; ``slow`` adds the uploads of two seconds."""
    running = Running(url, token, rate, connections, slow=slow)
    try:
        yield running
    finally:
        running.stop()


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--no-slow", action="store_true")
    options = parser.parse_args()
    token = sys.stdin.readline().strip()
    client = Client(options.url, token, options.rate, options.connections, slow=not options.no_slow)
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        client.report.urgent = True

    async def until_closed() -> None:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        client.stop.set()

    report, _ = await asyncio.gather(client.run(), until_closed())
    json.dump(asdict(report), sys.stdout)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(_main())
