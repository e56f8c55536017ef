"""`ppmctl plan`: the changes that a deploy and `provision` would make on every host, and manual changes there."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppmkit.actions.deploy import build_release, source
from ppmkit.config import check
from ppmkit.database import migrate
from ppmkit.errors import PpmctlError
from ppmkit.host.session import read_only
from ppmkit.local.pool import Pool
from ppmkit.plan import diff, inspection, saved
from ppmkit.plan.decide import PROXY_REPLACED
from ppmkit.plan.diff import Section
from ppmkit.plan.model import EnvironmentPlan, HostPlan
from ppmkit.progress import Announce
from ppmkit.provision import run
from ppmkit.provision.report import HostReport
from ppmkit.release import render
from ppmkit.release.migrations import Revision

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment, HostAddress
    from ppmkit.plan.inspection import HostState
    from ppmkit.release.model import Release, Source

_UNKNOWN = "migrations: not known before the deploy, "


@dataclass(frozen=True)
class _Wanted:
    """The target state that every host is compared with."""

    release: Release
    rendered: dict[str, str]
    steward: str
    """The steward's settings."""
    source: Source
    revisions: tuple[Revision, ...] | None
    """Every revision of the new image; None when the image is not on this machine."""
    settings: Future[dict[str, HostReport]]


def plan(environment: Environment, announce: Announce) -> EnvironmentPlan:
    """Build what a deploy would build, and inspect every host in parallel; take no lock, change nothing.

    A host that cannot be inspected is a problem in the plan, not an error.
    """
    with Pool() as pool:
        settings = pool.start(_settings, environment)
        release, _ = build_release(environment, announce)
        announce("inspecting the hosts")
        wanted = _Wanted(
            release=release,
            rendered=render.tree(environment, release),
            steward=render.steward(environment),
            source=source(),
            revisions=_revisions(release),
            settings=settings,
        )
        hosts = tuple(pool.map(lambda address: _host(environment, address, wanted), environment.hosts))
    return EnvironmentPlan(
        environment=environment.name,
        release=release.id,
        changed=any(host.changed for host in hosts),
        hosts=hosts,
        notes=check.notes(environment),
    )


def _settings(environment: Environment) -> dict[str, HostReport]:
    report = run.provision(environment, check=True, announce=lambda _: None)
    return {host.name: host for host in report.hosts}


def _revisions(release: Release) -> tuple[Revision, ...] | None:
    from ppmkit.local.engine import local_docker

    return migrate.shipped(local_docker(), release.images.api)


def _host(environment: Environment, address: HostAddress, wanted: _Wanted) -> HostPlan:
    from python_on_whales import DockerException

    try:
        with read_only(environment, address) as host:
            state = inspection.inspect_host(host, wanted.release, wanted.rendered)
            basis = saved.basis_of(host, state)
            fresh = state.stack.live is None and not inspection.has_data(host)
    except PpmctlError as error:
        return _unknown(address, error.message)
    except DockerException as error:
        return _unknown(address, (error.stderr or str(error)).strip())
    migrations, notes = _migrations(wanted.revisions, basis.schema_revision, fresh=fresh)
    settings, setting_notes = _host_settings(wanted.settings, address.name)
    return HostPlan(
        name=address.name,
        basis=basis,
        sections=(*_sections(state, wanted), *settings),
        migrations=migrations,
        drift=state.drift,
        notes=(*notes, *setting_notes),
    )


def _unknown(address: HostAddress, why: str) -> HostPlan:
    return HostPlan(name=address.name, problem=f"{address.name}: {why.removeprefix(f'{address.name}: ')}")


def _sections(state: HostState, wanted: _Wanted) -> tuple[Section, ...]:
    base, release, record = state.base, wanted.release, state.stack.record
    same = base is not None and base.id == release.id
    files = state.evidence.files if state.evidence else {}
    settings = state.evidence.settings if state.evidence else None
    images = diff.images(base, release)
    if images and record:
        images = (*images, diff.sources(record.source, wanted.source))
    drifted = {item.line for item in state.drift}
    deploy = tuple(line for line in state.plan.changes if line not in drifted)
    kept = {*deploy[:1], PROXY_REPLACED}  # the rest is in the other sections
    sections = (
        Section(name="deploy", lines=deploy if same else tuple(line for line in deploy if line in kept)),
        *(() if same else diff.files(base, files, release, wanted.rendered)),
        Section(name="backup settings", diff=diff.unified(settings or "", wanted.steward)),
        Section(name="secrets", lines=diff.secrets(base, release)),
        Section(name="images", lines=images),
    )
    return tuple(section for section in sections if section.diff or section.lines)


def _migrations(
    shipped: tuple[Revision, ...] | None, current: str | None, *, fresh: bool
) -> tuple[tuple[Revision, ...], tuple[str, ...]]:
    """Return the revisions that the database lacks, and a note when they are not known."""
    if shipped is None:
        return (), (f"{_UNKNOWN}the image is not on this machine",)
    if current is None and not fresh:
        return (), (f"{_UNKNOWN}no api reports the database's revision",)
    return migrate.lacking(shipped, current), ()


def _host_settings(settings: Future[dict[str, HostReport]], name: str) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """Return what `provision` would change on a host, and a note when that is not known."""
    try:
        report = settings.result()[name]
    except PpmctlError as error:
        return (), (f"host settings: {error.message}",)
    if report.error:
        return (), (f"host settings: not inspected: {report.error}",)
    lines = [
        line
        for operation in report.operations
        if operation.changed
        for line in (operation.name, *(f"  {detail}" for detail in operation.detail.splitlines()))
    ]
    return ((Section(name=diff.SETTINGS, lines=tuple(lines)),) if lines else ()), ()
