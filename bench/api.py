"""The application alone: one api container and a worker, with 100,000 projects, compared with bare FastAPI and SQLite.

    python -m bench.api [--projects N] [--repositories N] [--seconds N] [--sustained SECONDS]

Lists and reads are an open load of 200 per second, searches of 20 per second: a latency is measured from the time when
the request was due. For writes, 8 clients send as many as they can. At the end, writes are an open load of 300 per
second, while a worker scans all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from python_on_whales import Container, DockerClient
from python_on_whales.components.container.models import NetworkInspectResult

from ppmkit.config.environment import Images
from ppmkit.images.bases import ensure_bases
from ppmkit.images.recipe import Recipe, build
from ppmkit.local.engine import local_docker
from ppmkit.paths import KIT, PROJECT
from ppmkit.release.render import FULL_CPU_SHARES, IDLE_CPU_SHARES

RATE = 200
SEARCH_RATE = 20
WRITE_RATE = 300
WRITERS = 8
HARDENED: dict[str, Any] = {
    "read_only": True,
    "user": "10001:10001",
    "tmpfs": ["/tmp"],
    "cap_drop": ["ALL"],
    "init": True,
}
LIMITS = HARDENED | {"memory": "256m"}
FILL = """
import sys
from pysqlite3 import dbapi2
count, table, due = int(sys.argv[1]), sys.argv[2], sys.argv[3]
more = "" if table == "bare" else ", created_at, scan_due_at"
value = "" if table == "bare" else f", '2026-01-01', '{due}'"
connection = dbapi2.connect(f"/data/{table}.db")
connection.execute(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
    f"INSERT INTO projects (name, url{more}) SELECT 'p' || i, 'https://git.invalid/' || i{value} FROM n")
connection.commit()
"""
REPOSITORIES = """
import sys
from pysqlite3 import dbapi2
count, base, tip = int(sys.argv[1]), sys.argv[2], sys.argv[3]
connection = dbapi2.connect("/data/ppm.db")
connection.execute("UPDATE projects SET scan_due_at = '2099-01-01'")
connection.executemany("INSERT INTO projects (name, url, created_at, scan_due_at, last_commit, activity) "
    "VALUES (?, ?, '2026-01-01', '2026-01-01', ?, '{}')", [(f"r{n}", f"{base}/{n}.git", tip) for n in range(count)])
connection.commit()
"""
LEFT = """
from pysqlite3 import dbapi2
left = "SELECT count(*) FROM projects WHERE name LIKE 'r%' AND scanned_at IS NULL"
print(dbapi2.connect("/data/ppm.db").execute(left).fetchone()[0])
"""


@dataclass(frozen=True)
class Figures:
    """Latencies in ms."""

    count: int
    failed: int
    seconds: float
    latencies: list[float]

    def percentile(self, share: float) -> float:
        """Return a percentile of the latency."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


Ask = Callable[[aiohttp.ClientSession, int], Awaitable[bool]]


async def _get(session: aiohttp.ClientSession, path: str) -> bool:
    async with session.get(path) as answer:
        await answer.read()
        return answer.status == 200


async def index(session: aiohttp.ClientSession, number: int) -> bool:
    """Request a page of the list."""
    return await _get(session, f"/api/projects?limit=20&offset={number % 50 * 20}")


async def read(session: aiohttp.ClientSession, number: int) -> bool:
    """Request one project."""
    return await _get(session, f"/api/projects/{number % 5000 + 1}")


async def search(session: aiohttp.ClientSession, number: int) -> bool:
    """Search, in turn, for a text in the name of one project in ten thousand, and for a text in every address."""
    return await _get(session, f"/api/projects?limit=20&q={f'p{number % 10}123' if number % 2 else 'git.inv'}")


async def write(session: aiohttp.ClientSession, number: int) -> bool:  # noqa: ARG001
    """Add a project."""
    name = uuid.uuid4().hex
    async with session.post("/api/projects", json={"name": name, "url": f"https://git.invalid/{name}"}) as answer:
        await answer.read()
        return answer.status == 201


async def open_load(url: str, token: str, ask: Ask, seconds: float, rate: int = RATE) -> Figures:
    """Send requests at a fixed rate per second."""
    latencies: list[float] = []
    failed = 0

    async def one(session: aiohttp.ClientSession, number: int, due: float) -> None:
        nonlocal failed
        await asyncio.sleep(due - time.monotonic())
        failed += not await ask(session, number)
        latencies.append((time.monotonic() - due) * 1000)

    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as session:
        begin = time.monotonic() + 0.1
        async with asyncio.TaskGroup() as requests:
            for number in range(int(seconds * rate)):
                await asyncio.sleep(
                    begin + number / rate - time.monotonic() - 0.1
                )  # not all tasks of a long load at once
                requests.create_task(one(session, number, begin + number / rate))
    return Figures(len(latencies), failed, seconds, latencies)


async def closed_load(url: str, token: str, ask: Ask, seconds: float) -> Figures:
    """Let each client send one request after another, as fast as it gets responses."""
    latencies: list[float] = []
    failed = 0
    until = time.monotonic() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        while time.monotonic() < until:
            began = time.monotonic()
            failed += not await ask(session, 0)
            latencies.append((time.monotonic() - began) * 1000)

    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as session:
        await asyncio.gather(*(client(session) for _ in range(WRITERS)))
    return Figures(len(latencies), failed, seconds, latencies)


@contextmanager
def containers(docker: DockerClient, image: str) -> Iterator[Callable[..., Container]]:
    """Yield a function that starts a container of the image on a shared volume; remove everything at the end."""
    volume = docker.volume.create(f"ppm-bench-{uuid.uuid4().hex[:8]}")
    started: list[Container] = []

    def start(*command: str, more: tuple[tuple[str, str, str], ...] = (), shares: int = FULL_CPU_SHARES) -> Container:
        mounts = [(volume.name, "/data", "rw"), *more]
        envs = {"APP_ENV": "test", "LOG_LEVEL": "warning", "SCAN_PRIVATE_ADDRESSES": "true"}
        limits = LIMITS | {"cpu_shares": shares}
        container = docker.run(image, list(command), detach=True, envs=envs, volumes=mounts, **limits)
        started.append(container)
        return container

    try:
        yield start
    finally:
        docker.remove(started, force=True)
        docker.volume.remove(volume)


def bridge(container: Container) -> NetworkInspectResult:
    """Return a container's current endpoint on the engine's default network."""
    container.reload()  # type: ignore[no-untyped-call]
    networks = container.network_settings.networks
    assert networks, "it runs"
    return networks["bridge"]


def address(container: Container) -> str:
    """Return a container's URL, once it answers. Raises RuntimeError when it does not."""
    url = f"http://{bridge(container).ip_address}:8000"
    for _ in range(300):
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return url
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the container does not answer: {container.logs()[-2000:]}")


def resident(container: Container) -> int:
    """Return the memory of a container's largest process, in bytes."""
    lines = container.execute(["sh", "-c", "cat /proc/[0-9]*/status | grep VmRSS"])
    return max(int(line.split()[1]) for line in str(lines).splitlines()) * 1024


@contextmanager
def repositories(count: int, host: str) -> Iterator[tuple[str, str]]:
    """Serve this many repositories with one commit each by `git daemon`; yield their address and the commit."""
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "0.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "trunk", str(first)], check=True)
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        tree = subprocess.check_output(["git", "-C", str(first), "mktree"], stdin=subprocess.DEVNULL, text=True).strip()
        commit = ["git", "-C", str(first), *who, "commit-tree", "-m", "one", tree]
        tip = subprocess.check_output(commit, text=True).strip()
        subprocess.run(["git", "-C", str(first), "update-ref", "refs/heads/trunk", tip], check=True)
        for number in range(1, count):
            shutil.copytree(first, Path(folder) / f"{number}.git")
        argv = ["git", "daemon", "--reuseaddr", "--export-all", f"--base-path={folder}", f"--listen={host}", folder]
        with subprocess.Popen([*argv[:-1], "--port=9419", folder], stderr=subprocess.DEVNULL) as daemon:
            try:
                yield f"git://{host}:9419", tip
            finally:
                daemon.kill()


def scan_seconds(start: Callable[..., Container], api: Container, count: int, token: str, sustained: float) -> str:
    """Return how long a worker takes to scan unchanged repositories, and the figures of writes during later scans.

    At first nothing else is due. The projects that are written later are scanned, too, so the worker always has work.
    """
    with repositories(count, str(bridge(api).gateway)) as (url, tip):
        api.execute(["python", "-c", REPOSITORIES, str(count), url, tip])
        worker = start("ppm", "worker", shares=IDLE_CPU_SHARES)
        began = time.monotonic()
        while int(str(api.execute(["python", "-c", LEFT]))):
            assert time.monotonic() - began < 600, worker.logs()[-2000:]
            time.sleep(1)
        scans = f"\n{count:,} unchanged repositories were scanned in {time.monotonic() - began:.0f} s."
        writes = asyncio.run(open_load(address(api), token, write, sustained, WRITE_RATE))
        locked = sum("database is locked" in str(container.logs()) for container in (api, worker))
        memory = " and ".join(f"{resident(container) / (1 << 20):.0f}" for container in (api, worker))
        worker.stop()
    return (
        f"{scans}\n{writes.count:,} writes in {sustained:.0f} s while a worker scans: {writes.failed} failed, "
        f"p50 {writes.percentile(0.5):.1f} ms, p99 {writes.percentile(0.99):.1f} ms; {locked} of 2 logs have "
        f"`database is locked`; api and worker took {memory} MiB."
    )


def measured(url: str, token: str, seconds: float) -> str:
    """Return the cells of a row: each kind of read at its rate, then as many writes as possible."""
    reads = [asyncio.run(open_load(url, token, ask, seconds)) for ask in (index, read)]
    # The bare application has no search.
    searches = asyncio.run(open_load(url, token, search, seconds, SEARCH_RATE)) if token else None
    writes = asyncio.run(closed_load(url, token, write, seconds))
    every = [*reads, *([searches] if searches else []), writes]
    cells = [f"{f.percentile(0.5):.1f} | {f.percentile(0.99):.1f}" if f else "– | –" for f in (*reads, searches)]
    cells += [f"{writes.count / writes.seconds:,.0f}", f"{writes.percentile(0.99):.1f}"]
    return " | ".join([*cells, str(sum(figures.failed for figures in every))])


def main() -> None:
    """Print the figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=100_000, help="number of projects (default 100,000)")
    parser.add_argument(
        "--repositories", type=int, default=1_000, help="number of repositories to scan (default 1,000)"
    )
    parser.add_argument("--seconds", type=float, default=30, help="duration of each load (default 30)")
    parser.add_argument("--sustained", type=float, default=60, help="seconds of writes during scans (default 60)")
    options = parser.parse_args()
    docker = local_docker()
    base = ensure_bases(Images(bases="local"), docker, print)["python"]
    recipe = Recipe("ppm-build/api", PROJECT / "app/Dockerfile", {"PYTHON_IMAGE": base}, PROJECT / "app")
    with containers(docker, build(docker, recipe, print)) as start:
        code = (str(KIT / "bench/bare.py"), "/srv/bare.py", "ro")
        bare = start("uvicorn", "bare:app", "--host=0.0.0.0", "--log-level=warning", more=(code,))
        api = start("ppm", "serve")
        rows = {"bare FastAPI and SQLite": (bare, ""), "ppm": (api, str(api_token(api)))}
        print("| | list p50, ms | p99 | one p50, ms | p99 | search p50, ms | p99 | writes/s | p99, ms | failed | MiB |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for name, (container, token) in rows.items():
            container.execute(["python", "-c", FILL, str(options.projects), "ppm" if token else "bare", "2099-01-01"])
            cells = measured(address(container), token, options.seconds)
            print(f"| {name} | {cells} | {resident(container) / (1 << 20):.0f} |", flush=True)
        print(scan_seconds(start, api, options.repositories, rows["ppm"][1], options.sustained))


def api_token(api: Container) -> str:
    """Return a token that may write."""
    address(api)
    return str(api.execute(["ppm", "token", "create", "bench"]))


if __name__ == "__main__":
    main()
