"""Assets of other releases: what the frontend's image keeps on a volume, serves from it, and lets go."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from python_on_whales import Container, DockerClient

from tests.integration.conftest import HARDENED_FRONTEND, Run, address, healthy, until
from tests.support.page import assets
from tests.support.processes import threads

KIB = 1024
KEPT = "/srv/kept"


@pytest.fixture
def run(docker: DockerClient, frontend_image: str, volume: str) -> Iterator[Run]:
    """Start frontends on one volume, each with the release and the files that a test gives it."""
    started = []

    def start(release: str, page: Path | None = None, *, volume: str = volume, mode: str = "rw") -> Container:
        volumes = [(volume, KEPT, mode), *([(str(page), "/srv/ui", "ro")] if page else [])]
        envs = {"PPM_RELEASE": release}
        container = docker.run(frontend_image, detach=True, envs=envs, volumes=volumes, **HARDENED_FRONTEND)
        started.append(container)
        until(lambda: healthy(container), container)
        return container

    yield start
    docker.remove(started, force=True)


@pytest.fixture
def small_volume(docker: DockerClient) -> Iterator[str]:
    """A volume that holds 100 KiB; a test names it before `run`, for it goes last."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=100k,uid=10001,gid=10001,mode=755"}
    volume = docker.volume.create(f"ppm-test-{uuid.uuid4().hex[:8]}", options=options)
    yield volume.name
    docker.volume.remove(volume)


def page(folder: Path, **sizes: int) -> Path:
    """Write a page with assets of these sizes, in bytes; return its folder."""
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "assets").mkdir()
    (folder / "index.html").write_text("a page")
    for name, size in sizes.items():
        (folder / "assets" / f"{name}.js").write_text(name[0] * size)
    return folder


def get(container: Container, path: str) -> httpx.Response:
    return httpx.get(f"http://{address(container)}:8080{path}", trust_env=False)


def found(container: Container, *names: str) -> list[str]:
    """Return those of the assets that the container serves."""
    return [name for name in names if get(container, f"/assets/{name}.js").is_success]


def there(container: Container) -> list[str]:
    """Return all that is on the volume."""
    return sorted(container.execute(["find", KEPT, "-type", "f", "-printf", "%P\\n"]).split())


def test_a_new_release_serves_the_assets_of_the_old_one_as_if_they_were_its_own(run: Run, tmp_path: Path) -> None:
    old = run("old")
    named = assets(get(old, "/").text)
    before = [get(old, path) for path in named]
    old.stop()

    new = run("new", page(tmp_path / "new", part=2 * KIB))

    assert named
    for path, was in zip(named, before, strict=True):
        answer = get(new, path)
        assert (answer.status_code, answer.content) == (200, was.content)
        assert answer.headers["X-PPM-Release"] == "new"
        different = {"date", "x-ppm-release"}
        assert {k: v for k, v in answer.headers.items() if k not in different} == {
            k: v for k, v in was.headers.items() if k not in different
        }
    assert get(new, "/").text == "a page"


def test_a_release_that_is_returned_to_serves_the_assets_of_the_one_that_failed(run: Run, tmp_path: Path) -> None:
    old = run("old", page(tmp_path / "old", first=KIB))
    assert found(old, "first", "second") == ["first"]

    run("new", page(tmp_path / "new", second=KIB)).stop()

    assert found(old, "first", "second") == ["first", "second"]


def test_nothing_else_that_lies_on_the_volume_is_served(run: Run, tmp_path: Path) -> None:
    container = run("only", page(tmp_path / "only", part=KIB))

    assert "releases/only" in there(container)
    for path in ("/releases/only", "/assets/%2e%2e/releases/only", "/assets/releases/only", "/kept/releases/only"):
        assert "part.js" not in get(container, path).text


def test_what_only_a_release_that_is_gone_needs_goes_too(run: Run, tmp_path: Path) -> None:
    for release in ("one", "two"):
        run(release, page(tmp_path / release, all=KIB, **{release: KIB})).stop()
    three = run("three", page(tmp_path / "three", all=KIB, three=KIB))
    assert found(three, "all", "one", "two", "three") == ["all", "one", "two", "three"]

    three.execute(["keep-assets", "two", "three"])

    assert found(three, "all", "one", "two", "three") == ["all", "two", "three"]
    assert there(three) == ["assets/all.js", "assets/three.js", "assets/two.js", "releases/three", "releases/two"]


def test_a_release_never_lets_go_of_its_own(run: Run, tmp_path: Path) -> None:
    container = run("one", page(tmp_path / "one", part=KIB))

    container.execute(["keep-assets", "another"])

    assert there(container) == ["assets/part.js", "releases/one"]


def test_a_name_may_have_spaces_and_folders(run: Run, tmp_path: Path) -> None:
    one = page(tmp_path / "one")
    (one / "assets" / "a b").mkdir()
    (one / "assets" / "a b" / "c  d.js").write_text("it")
    run("one", one).stop()
    two = run("two", page(tmp_path / "two", part=KIB))

    assert get(two, "/assets/a%20b/c%20%20d.js").text == "it"
    two.execute(["keep-assets", "two"])
    assert there(two) == ["assets/part.js", "releases/two"]


def test_a_frontend_starts_on_a_volume_that_it_cannot_write_to_and_says_so(run: Run, tmp_path: Path) -> None:
    container = run("one", page(tmp_path / "one", part=KIB), mode="ro")

    assert found(container, "part") == ["part"]
    assert "Read-only file system" in container.logs()
    assert "start: the assets of one are not kept" in container.logs()


def test_a_frontend_starts_on_a_full_volume_and_has_room_there_once_others_are_gone(
    small_volume: str, run: Run, tmp_path: Path
) -> None:
    one = run("one", page(tmp_path / "one", one=60 * KIB), volume=small_volume)
    two = run("two", page(tmp_path / "two", two=60 * KIB), volume=small_volume)

    assert found(two, "one", "two") == ["one", "two"]
    assert found(one, "two") == []
    assert "No space left on device" in two.logs()
    assert "start: the assets of two are not kept" in two.logs()

    two.execute(["keep-assets", "two"])

    assert there(two) == ["assets/two.js", "releases/two"]
    assert found(one, "two") == ["two"]


def test_several_that_start_at_once_do_not_disturb_each_other(run: Run, tmp_path: Path) -> None:
    names = [f"{letter}{number}" for letter in "abcd" for number in range(20)]
    pages = {release: page(tmp_path / release, **dict.fromkeys(names, 50 * KIB)) for release in ("one", "two")}

    with threads(4) as pool:
        containers = list(pool.map(lambda release: run(release, pages[release]), ["one", "two", "one", "two"]))

    assert [container.logs() for container in containers] == [""] * 4
    assert there(containers[0]) == sorted([f"assets/{name}.js" for name in names] + ["releases/one", "releases/two"])


def test_nobody_ever_gets_a_part_of_a_file(run: Run, tmp_path: Path) -> None:
    old = run("old", page(tmp_path / "old", small=KIB))
    size = 32 * KIB * KIB
    new = page(tmp_path / "new", large=size)

    def answer() -> tuple[int, int]:
        url = f"http://{address(old)}:8080/assets/large.js"
        got = httpx.head(url, headers={"Accept-Encoding": "identity"}, trust_env=False)
        return got.status_code, int(got.headers["Content-Length"]) if got.is_success else 0

    with threads() as pool:
        starting = pool.submit(run, "new", new)
        answers = [answer()]
        while not starting.done():
            answers.append(answer())
        starting.result(60)

    assert set(answers) <= {(404, 0), (200, size)}
    assert answer() == (200, size)


def test_what_a_power_cut_has_damaged_is_mended_by_the_next_start(run: Run, tmp_path: Path) -> None:
    one = run("one", page(tmp_path / "one", part=KIB))
    one.execute(["sh", "-c", f"cd {KEPT} && : > assets/part.js && : > releases/one && echo half > new"])

    one.restart()
    until(lambda: healthy(one), one)

    two = run("two", page(tmp_path / "two", two=KIB))
    two.execute(["keep-assets", "one", "two"])
    assert get(two, "/assets/part.js").text == "p" * KIB
    assert there(two) == ["assets/part.js", "assets/two.js", "releases/one", "releases/two"]
