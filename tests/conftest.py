"""A lab for the tests, started by pytest-docker, and sites on it: two servers, other ports than the user's own lab.

`live` is deployed once and shared; a test that changes it leaves it serving.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from ppmkit.config.environment import Images
from ppmkit.lab import Lab
from ppmkit.lab.hosts import down, observed, prepare
from ppmkit.lab.login import settle
from ppmkit.lab.model import wanted
from ppmkit.local.engine import local_docker
from ppmkit.paths import KIT
from tests.support.shards import Shard, choose
from tests.support.site import Site

if TYPE_CHECKING:
    from pytest_docker.plugin import Services


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="variants too (marked `full`), and a search at random")
    parser.addoption("--shard", type=Shard.parse, help="only a part of the tests: 2/4 is the second of four")


_TERMINAL = pytest.StashKey[int]()
"""What stderr is where no test's output is caught."""


def pytest_configure(config: pytest.Config) -> None:
    """Choose how Hypothesis looks for examples: a change must not fail by an example that it has no part in."""
    config.stash[_TERMINAL] = os.dup(2)
    settings.register_profile("search", deadline=None, print_blob=True)
    settings.load_profile("search" if config.getoption("--full") else "ci")  # Hypothesis's own: the same every time


_LONGEST = {"test_backup", "test_existing_sites", "test_migrations", "test_runbooks"}
"""Files of tests/lab that take minutes: a process that began with one last would be the only one at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest; leave out what only `--full` runs."""
    items.sort(key=lambda item: item.path.parent.name != "lab" or item.path.stem not in _LONGEST)
    if not config.getoption("--full"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("full")])
        items[:] = [item for item in items if not item.get_closest_marker("full")]
    if shard := config.getoption("--shard"):
        items[:], others = choose(items, shard)
        config.hook.pytest_deselected(items=others)


_MOST_SECONDS = 60
"""How long what is left behind may take to end: pytest-timeout interrupts one wait, and after that comes the next."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End this process, and print where each thread is, when a test and its fixtures do not end after their timeout."""
    marker = item.get_closest_marker("timeout")
    seconds = float(marker.args[0] if marker else item.config.getini("timeout"))
    faulthandler.dump_traceback_later(seconds + _MOST_SECONDS, exit=True, file=item.config.stash[_TERMINAL])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End this process, and print where each thread is, when one goes on after the last test. xdist ends its own."""
    if not hasattr(config, "workerinput"):
        faulthandler.dump_traceback_later(_MOST_SECONDS, exit=True, file=config.stash[_TERMINAL])


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test failed: it may have left the shared site in any state."""
    report = yield
    if report.failed:
        item.session.stash[_FAILED] = True
    return report


@pytest.fixture(autouse=True)
def _repaired(request: pytest.FixtureRequest) -> None:
    """After a test that failed, the next one that needs the live site finds it as it should be."""
    if "live" in request.fixturenames and request.session.stash.get(_FAILED, False):
        live = request.getfixturevalue("live")
        if isinstance(live, Site):  # the word means a color elsewhere
            live.configure()
            live.ppmctl("deploy")
            request.session.stash[_FAILED] = False


os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each command of ppmctl would compile three hundred modules first
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Which of the processes that test at once this is; each has a lab and sites of its own."""
BASE = int(os.environ.get("PPM_TEST_OFFSET", "100"))
"""Another one for a second checkout: both can be tested on one machine at once."""
OFFSET = BASE + 20 * WORKER
"""Added to every port of the lab."""
NAME, HOSTS = "test" if OFFSET == 100 else f"test-{OFFSET}", 2


def named(site: str) -> str:
    """Return the name of a shared site: images are tagged with it, on the engine that all processes build with."""
    return f"{site}{WORKER or ''}"


@pytest.fixture(scope="session")
def machine() -> Iterator[None]:
    """The right to this machine's lab of that name: tests of two checkouts would take each other's hosts away."""
    with (Path(tempfile.gettempdir()) / f"ppm-{NAME}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.exit(f"other tests use the lab {NAME!r} now: end them, or set PPM_TEST_OFFSET=300", returncode=2)
        yield


@pytest.fixture(scope="session")
def prepared_lab(machine: None) -> Lab:  # noqa: ARG001 (what is there is nobody's in use)
    """The lab with its image, key and Compose file, not started.

    A run that was killed leaves hosts behind, perhaps another checkout's with another key: they go first.
    """
    down(NAME)
    asked = wanted(NAME, HOSTS, OFFSET)
    prepare(local_docker(), asked, Images(), print)
    return asked


@pytest.fixture(scope="session")
def docker_compose_file(prepared_lab: Lab) -> str:
    return str(prepared_lab.compose_file)


@pytest.fixture(scope="session")
def docker_compose_project_name(prepared_lab: Lab) -> str:
    return prepared_lab.project


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    return ["up --wait"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return ["down --volumes --timeout 3"]


@pytest.fixture(scope="session")
def lab(prepared_lab: Lab, docker_services: Services) -> Lab:  # noqa: ARG001 (it is what starts them)
    """Two running servers that take logins; nothing is installed on them. Tests share them."""
    docker = local_docker()
    settle(docker, prepared_lab)
    return observed(docker, prepared_lab)


@pytest.fixture(scope="session")
def live(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that serves, with as many of everything as a server has by default."""
    site = Site(named("live"), lab, 1, tmp_path_factory.mktemp("live"), replicas=2)
    site.provision()
    site.ppmctl("deploy")
    return site


@pytest.fixture(scope="session")
def bare(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A provisioned host on which nothing is deployed, for what must stop a deploy before it begins."""
    site = Site(named("bare"), lab, 2, tmp_path_factory.mktemp("bare"))
    site.provision()
    return site


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of this checkout, to change the application in; with its bytecode, so that nothing is compiled again."""
    copy = tmp_path / "checkout"
    everywhere = shutil.ignore_patterns(".git", ".venv", "node_modules", ".*_cache", ".ppmctl")

    def ignored(folder: str, names: list[str]) -> set[str]:
        return everywhere(folder, names) | ({"secrets"} if Path(folder) == KIT else set())

    shutil.copytree(KIT, copy, ignore=ignored)
    yield copy
    shutil.rmtree(copy)
