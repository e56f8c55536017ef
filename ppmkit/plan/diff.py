"""Differences between wanted and found texts, as unified diffs and short lines, masked. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from ppmkit.config.environment import Model
from ppmkit.redact import redact
from ppmkit.release import render
from ppmkit.release.model import Release, Source, identify

_SECTIONS = {render.COMPOSE: "compose", f"traefik/dynamic/{render.ROUTES}": "proxy"}
SETTINGS = "host settings"
"""The section for changes by `provision`."""
_RELEASE = "<release>"


class Section(Model):
    """One part of the changes on a host."""

    name: str
    diff: str = ""
    """A unified diff, from the host's text to the wanted text; if empty, ``lines`` has the changes."""
    lines: tuple[str, ...] = ()


def unified(found: str, wanted: str) -> str:
    """Return the unified diff of two texts, masked; empty when they are equal."""
    # Masked before they are compared, because a multi-line value is complete only here.
    before, after = (redact(text).splitlines() for text in (found, wanted))
    return redact("\n".join(difflib.unified_diff(before, after, "on the host", "wanted", lineterm="")))


def files(
    base: Release | None, found: Mapping[str, str], wanted: Release, rendered: Mapping[str, str]
) -> tuple[Section, ...]:
    """Return the changes in a release's files, given as {path: content} on the host and as rendered.

    The ids of the release and its images, which are on every other line, are replaced by placeholders: other sections
    show them.
    """
    after = {path: _general(text, wanted) for path, text in rendered.items()}
    before = {path: _general(text, base) if base else text for path, text in found.items()}
    diffs = {path: unified(before.get(path, ""), after.get(path, "")) for path in sorted(after | before)}
    return tuple(Section(name=_SECTIONS.get(path, path), diff=diff) for path, diff in diffs.items() if diff)


def _general(text: str, release: Release) -> str:
    for name, reference in release.images.by_name().items():
        text = text.replace(reference, f"<{name} image>")
    return text.replace(release.id, _RELEASE)


def settings(found: str | None, wanted: str) -> tuple[str, ...]:
    """Return the plan line for changed steward settings; none when they do not change."""
    if found == wanted:
        return ()
    was = "none" if found is None else identify({render.STEWARD: found})
    return (f"backup settings {was} → {identify({render.STEWARD: wanted})}: the steward restarts",)


def secrets(base: Release | None, wanted: Release) -> tuple[str, ...]:
    """Return the secrets that change, by version."""
    was = base.secrets if base else {}
    return tuple(
        f"secret {name}: version {was.get(name, 'none')} → {wanted.secrets.get(name, 'none')}"
        for name in sorted(was.keys() | wanted.secrets.keys())
        if was.get(name) != wanted.secrets.get(name)
    )


def images(base: Release | None, wanted: Release) -> tuple[str, ...]:
    """Return the images that change, by digest."""
    was = base.images.by_name() if base else {}
    return tuple(
        f"{name} image: {_short(was[name]) if name in was else 'none'} → {_short(reference)}"
        for name, reference in wanted.images.by_name().items()
        if was.get(name) != reference
    )


def sources(before: Source, now: Source) -> str:
    """Return a line with the old and the new commit."""
    return f"built from commit {_commit(before)} → {_commit(now)}"


def _short(image: str) -> str:
    """Return a short prefix of an image's digest."""
    return image.rpartition("sha256:")[2][:12]


def _commit(source: Source) -> str:
    return (source.commit or "unknown")[:10] + (" with changes" if source.dirty else "")
