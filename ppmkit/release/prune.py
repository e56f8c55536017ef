"""Retention of releases on a host: a pure function decides what to keep, another one removes the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ppmkit.release.model import Images, Record, Release
from ppmkit.release.records import records

if TYPE_CHECKING:
    from ppmkit.host.host import Host

_REPOSITORY = "ppm"


def tag(image: str, release: str) -> str:
    """Return the tag that keeps an image of a release on a host."""
    return f"{_REPOSITORY}/{image}:{release}"


def keep(host: Host, release: Release) -> None:
    """Tag the release's images on the host, so that only :func:`prune` removes them."""
    for image, reference in release.images.by_name().items():
        host.docker.image.tag(reference, tag(image, release.id))


def obsolete(known: Sequence[Record], keep: int) -> list[Record]:
    """Given all records of a host, newest first, return those to remove.

    The newest and its rollback target stay, regardless of ``keep``.
    """
    kept = {record.id for record in known[:keep]}
    if known:
        kept |= {known[0].id, known[0].previous or known[0].id}
    return [record for record in known if record.id not in kept]


def prune(host: Host, *, keep: int) -> int:
    """Remove old releases with their images and secret versions from the host; return the number of releases."""
    from python_on_whales import DockerException

    known = records(host)
    old = obsolete(known, keep)
    directory = host.environment.directory
    for record in old:
        for image in Images.model_fields:
            try:
                host.docker.image.remove(tag(image, record.id))
            except DockerException as error:
                if "No such image" not in str(error) and "in use" not in str(error):
                    raise
        host.run(["rm", "-rf", str(directory / "releases" / record.id)])
    versions = {
        (name, version) for record in known if record not in old for name, version in record.release.secrets.items()
    }
    for record in old:
        for name, version in record.release.secrets.items():
            if (name, version) not in versions:
                host.run(["rm", "-f", str(directory / "secrets" / name / version)])
    return len(old)
