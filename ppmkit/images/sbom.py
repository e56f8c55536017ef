"""Software bill of materials of a release (CycloneDX 1.6): per image, its Debian, Python and frontend packages.

Each image is queried once, and its list is cached in ``.ppmctl/sbom/``. A deploy of images that were built here stores
the SBOM next to the release. Without one (images pushed by CI, or an upgrade that was finished from another machine),
the images on the host are queried on demand. Packages that are compiled into the page are known only to its build.
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
    """One package in an image."""

    kind: str
    """The type in its package URL: deb, pypi, npm, golang."""
    name: str
    version: str


def of(environment: Environment, release: Release) -> str | None:
    """Return the SBOM of a release that was built here, else None. Raises BuildError."""
    if environment.images.source == "registry":
        return None
    return document(release.id, release.images.by_name(), collect(release.images))


def on_host(host: Host, release: Release) -> str:
    """Return the SBOM of a release from its images on the host, without the page's own packages. Raises BuildError if
    an image was removed."""
    engine = (*command(), "-H", f"unix://{host.docker_socket}")
    images = release.images.by_name()
    return document(release.id, images, {name: _of_image(reference, engine) for name, reference in images.items()})


def collect(images: Images) -> dict[str, tuple[Package, ...]]:
    """Return {image: its packages} for images on this machine."""
    by_name = images.by_name()
    with ThreadPoolExecutor() as pool:
        packages = dict(zip(by_name, pool.map(_of_image, by_name.values()), strict=True))
    return packages | {"frontend": (*packages["frontend"], *page(json.loads(_LOCK.read_text(encoding="utf-8"))))}


def _of_image(reference: str, engine: Sequence[str] = ()) -> tuple[Package, ...]:
    cache = PROJECT / ".ppmctl" / "sbom" / reference.rpartition(":")[2]
    if not cache.is_file():
        # It may run next to serving containers, so it gets few resources.
        limits = [
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
        argv = [*(engine or command()), "run", "--rm", *limits, "--entrypoint", "sh", reference]
        result = bounded.run([*argv, "-c", _LIST, "sh", _PYTHON], timeout=120)
        if result.returncode:
            seen = result.stderr.strip()
            raise BuildError(f"cannot list the packages of the image {reference}", step="build", seen=seen)
        replace(cache, result.stdout.encode(), 0o644)
    return _parse(cache)


def _parse(cache: Path) -> tuple[Package, ...]:
    rows = sorted({tuple(line.split(" ", 2)) for line in cache.read_text(encoding="utf-8").splitlines()})
    return tuple(Package(kind=kind, name=name, version=version) for kind, name, version in rows)


def page(lock: Mapping[str, Mapping[str, Mapping[str, object]]]) -> tuple[Package, ...]:
    """Given npm's lock file, return the packages that are built into the page: all but development tools."""
    return tuple(
        Package(kind="npm", name=path.rpartition("node_modules/")[2], version=str(package["version"]))
        for path, package in sorted(lock["packages"].items())
        if path and not package.get("dev")
    )


def document(release: str, images: Mapping[str, str], packages: Mapping[str, tuple[Package, ...]]) -> str:
    """Return the SBOM of a release: its images and their packages."""
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
