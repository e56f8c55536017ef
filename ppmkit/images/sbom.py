"""What a release is made of, as CycloneDX 1.6: packages of the distribution, Python and the page, for each image.

The list of an image is asked of the image itself, once, and kept in ``.ppmctl/sbom/``. A deploy of what was built here
lays it beside the release. Without one (images that CI has pushed, an upgrade that was finished from elsewhere) a
host's own images are asked when somebody wants to know; what is compiled into the page only its build knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ppmkit.config.environment import Model
from ppmkit.errors import BuildError
from ppmkit.local import bounded
from ppmkit.local.engine import command
from ppmkit.local.files import replace
from ppmkit.paths import PROJECT
from ppmkit.release.render import IDLE_CPU_SHARES

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment
    from ppmkit.host.host import Host
    from ppmkit.release.model import Images, Release

FILE = "sbom.json"
_LOCK = PROJECT / "app" / "ui" / "package-lock.json"
_PYTHON = "import importlib.metadata as m; [print('pypi', d.name, d.version) for d in m.distributions()]"
_LIST = """
dpkg-query -W -f 'deb ${Package} ${Version}\\n' 2>/dev/null
python -c "$1" 2>/dev/null
traefik version 2>/dev/null | awk '$1 == "Version:" {print "golang traefik", $2}'
true
"""


class Package(Model):
    """One thing that an image holds."""

    kind: str
    """Of a package URL: deb, pypi, npm, golang."""
    name: str
    version: str


def of(environment: Environment, release: Release) -> str | None:
    """Return the document of a release that was built here, else None. Raises BuildError."""
    if environment.images.source == "registry":
        return None
    return document(release.id, release.images.by_name(), collect(release.images))


def on_host(host: Host, release: Release) -> str:
    """Return the document of a release whose images are on the host, but for the page's own packages. Raises BuildError
    when one of them is gone."""
    engine = (*command(), "-H", f"unix://{host.docker_socket}")
    images = release.images.by_name()
    return document(release.id, images, {name: _of_image(reference, engine) for name, reference in images.items()})


def collect(images: Images) -> dict[str, tuple[Package, ...]]:
    """Return {image: its packages} of images that are on this machine."""
    by_name = images.by_name()
    with ThreadPoolExecutor() as pool:
        found = dict(zip(by_name, pool.map(_of_image, by_name.values()), strict=True))
    return found | {"frontend": (*found["frontend"], *page(json.loads(_LOCK.read_text(encoding="utf-8"))))}


def _of_image(reference: str, engine: Sequence[str] = ()) -> tuple[Package, ...]:
    cache = PROJECT / ".ppmctl" / "sbom" / reference.rpartition(":")[2]
    if not cache.is_file():
        # Beside what serves it must cost little.
        closed = [
            "--pull",
            "never",
            "--network",
            "none",
            "--log-driver",
            "none",
            "--cpu-shares",
            str(IDLE_CPU_SHARES),
            "--memory",
            "256m",
        ]
        argv = [*(engine or command()), "run", "--rm", *closed, "--entrypoint", "sh", reference]
        done = bounded.run([*argv, "-c", _LIST, "sh", _PYTHON], timeout=120)
        if done.returncode:
            seen = done.stderr.strip()
            raise BuildError(f"the image {reference} does not tell what it holds", step="build", seen=seen)
        replace(cache, done.stdout.encode(), 0o644)
    return _parse(cache)


def _parse(cache: Path) -> tuple[Package, ...]:
    rows = sorted({tuple(line.split(" ", 2)) for line in cache.read_text(encoding="utf-8").splitlines()})
    return tuple(Package(kind=kind, name=name, version=version) for kind, name, version in rows)


def page(lock: Mapping[str, Mapping[str, Mapping[str, object]]]) -> tuple[Package, ...]:
    """Given npm's lock, return the packages that are built into the page: those that are no tools."""
    return tuple(
        Package(kind="npm", name=path.rpartition("node_modules/")[2], version=str(package["version"]))
        for path, package in sorted(lock["packages"].items())
        if path and not package.get("dev")
    )


def document(release: str, images: Mapping[str, str], packages: Mapping[str, tuple[Package, ...]]) -> str:
    """Return the document of a release: its images, and what each holds."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    root = Component(name="ppm", version=release, type=ComponentType.APPLICATION, bom_ref=release)
    bom = Bom()
    bom.metadata.component = root
    for image, reference in images.items():
        holder = Component(name=image, version=reference, type=ComponentType.CONTAINER, bom_ref=image)
        parts = [
            Component(
                name=package.name,
                version=package.version,
                type=ComponentType.LIBRARY,
                purl=PackageURL(
                    package.kind, "debian" if package.kind == "deb" else None, package.name, package.version
                ),
                bom_ref=f"{image}/{package.kind}/{package.name}@{package.version}",
            )
            for package in packages[image]
        ]
        bom.components.update([holder, *parts])
        bom.register_dependency(holder, parts)
        bom.register_dependency(root, [holder])
    return str(JsonV1Dot6(bom).output_as_string(indent=1))
