"""Results as tables and short texts on stdout. `--json` prints the models themselves instead."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table

from ppmkit.cli import show_backups, terminal
from ppmkit.plan.diff import SETTINGS

if TYPE_CHECKING:
    from ppmkit.actions.deploy import Deployment
    from ppmkit.actions.recover import Recovery
    from ppmkit.actions.rollback import Rollback
    from ppmkit.actions.status import HostStatus, Status
    from ppmkit.actions.up import UpResult
    from ppmkit.doctor.checks import Check
    from ppmkit.lab import LabHost
    from ppmkit.operation.journal import OperationSummary
    from ppmkit.orchestrator.stack import Stack
    from ppmkit.plan.model import EnvironmentPlan, HostPlan
    from ppmkit.provision.report import ProvisionReport
    from ppmkit.release.model import Record


def up(found: UpResult) -> str:
    """Return what somebody needs to know after `up`."""
    e = "" if found.environment == "lab" else f" -e {found.environment}"
    if found.compose_project:
        compose = f"docker compose -p {found.compose_project}"
        token, status, logs = f"{compose} exec api ppm token create me", f"{compose} ps", f"{compose} logs -f"
        change = "edit anything under app/: the API and the page reload by themselves"
    else:
        token, status, logs = f"ppmctl exec{e} api -- ppm token create me", f"ppmctl status{e}", f"ppmctl logs{e} -f"
        change = f"edit anything under app/ or deploy/inventory/, then: ppmctl deploy{e}"
    what = "is up" if found.changed else "was already up; nothing changed"
    return f"""
ppm {what} ({found.seconds:g} s)

  URL       {found.url}
  token     {token}
  status    {status}
  logs      {logs}
  upgrade   {change}
  stop      ppmctl down{e}

ppmctl is installed in .venv/bin: source .venv/bin/activate
"""


def deployment(done: Deployment) -> str:
    """Return a deploy's result in one line."""
    if not done.changed:
        return f"nothing to do: release {done.release} serves at {done.url} ({done.seconds:.1f} s)\n"
    was = f", before: {done.previous}" if done.previous else ""
    return f"release {done.release} serves at {done.url} ({done.seconds:.1f} s, {done.bytes_sent:,} bytes sent{was})\n"


def recovery(found: Sequence[Recovery]) -> str:
    """Return the results of resuming or aborting interrupted operations."""
    lines = []
    for host in found:
        if host.kind is None:
            lines.append(f"{host.host}: no operation was interrupted; release {host.serves or 'none'} serves")
        else:
            lines.append(
                f"{host.host}: {host.kind} of {host.release} {host.outcome}; {host.serves or 'nothing'} serves"
            )
    return "\n".join(lines) + "\n"


def rollback(found: Sequence[Rollback]) -> str:
    """Return a rollback's result."""
    return "".join(
        f"{host.host}: release {host.release} serves again, before: {host.previous}; "
        f"the data was {'left ' if host.data == 'untouched' else ''}{host.data} "
        f"(users were served after {host.served_seconds:.1f} s; {host.seconds:.1f} s in total)\n"
        f"{show_backups.failed_while_held(host.failed)}"
        for host in found
    )


def history(found: Sequence[OperationSummary]) -> None:
    """Print what was done on a host."""
    table = terminal.table("when", "what", "release", "outcome", "seconds", "who", "error")
    for past in found:
        style = {"done": "green", "undone": "yellow"}.get(past.outcome, "red")
        error = (past.error or "").splitlines()
        when = past.began.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        outcome, first = terminal.text(past.outcome, style), error[0] if error else ""
        terminal.row(table, when, past.kind, past.release, outcome, f"{past.seconds:.1f}", past.who, first)
    terminal.print_table(table)


def plan(found: EnvironmentPlan) -> None:
    """Print the changes on every host: plain text in a pipe, colored on a terminal."""
    for host in found.hosts:
        for line in _host_plan(host):
            terminal.line(terminal.text(line, _style(line)))
    for note in found.notes:
        terminal.line(terminal.text(f"# note: {note}", "bold"))
    for problem in found.problems:
        terminal.line(terminal.text(f"! {problem}", "red"))
    deploys = any(host.basis and host.basis.changes for host in found.hosts)
    provisions = any(section.name == SETTINGS for host in found.hosts for section in host.sections)
    for command in ["deploy"] * deploys + ["provision"] * provisions:
        terminal.line(f"To do this: ppmctl {command} -e {found.environment}")
    if not found.changed and not found.problems:
        terminal.line(f"no differences: the hosts have release {found.release}")


def _host_plan(host: HostPlan) -> Iterator[str]:
    for section in host.sections:
        yield f"# {host.name}: {section.name}"
        yield from section.diff.splitlines()
        yield from (f"  {line}" for line in section.lines)
    if host.migrations:
        yield f"# {host.name}: migrations"
        yield from (f"  {item.revision} {item.compatibility}: {item.summary}" for item in host.migrations)
    for item in host.drift:
        yield f"# {host.name}: by hand: {item.line}"
        yield from item.diff.splitlines()
        yield f"  {item.next}"
    yield from (f"# {host.name}: {note}" for note in host.notes)


_STYLES = {"#": "bold", "@": "cyan", "+": "green", "-": "red"}


def _style(line: str) -> str:
    return _STYLES.get(line[:1], "")


def status(found: Status) -> None:
    """Print the status of every host."""
    verdict = terminal.text("healthy", "green") if found.healthy else terminal.text("not healthy", "red")
    terminal.line(f"{found.environment}  {found.url}  ", verdict)
    for host in found.hosts:
        terminal.line("\n", terminal.text(host.name, "bold"), f"  release {host.release or 'none'}  {host.color or ''}")
        terminal.print_table(_services(host))
        if host.backups:
            terminal.line("\n".join(show_backups.status(host.backups, datetime.now(UTC))))
    for problem in found.problems:
        terminal.line(terminal.text("!", "red"), f" {problem}")


def _services(host: HostStatus) -> Table:
    table = terminal.table("service", "color", "release", "running", "since")
    for service in host.services:
        style = "dim" if service.wanted == 0 and service.running == 0 else ""
        since = service.since.astimezone().strftime("%Y-%m-%d %H:%M:%S") if service.since else ""
        count = terminal.text(f"{service.running}/{service.wanted}", "" if service.running == service.wanted else "red")
        terminal.row(table, service.name, service.color or "", service.release or "", count, since, style=style)
    return table


def releases(found: Sequence[Record], stack: Stack) -> None:
    """Print the releases of a host."""
    table = terminal.table("release", "", "color", "when", "who", "commit", "schema", "seconds")
    for record in found:
        current = "current" if stack.record and stack.record.id == record.id else ""
        commit = (record.source.commit or "")[:10] + ("+" if record.source.dirty else "")
        seconds = f"{sum(step.seconds for step in record.steps):.1f}"
        when = record.when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        terminal.row(
            table, record.id, current, record.color, when, record.who, commit, record.schema_after or "", seconds
        )
    terminal.print_table(table)


def release(record: Record, bill: str | None) -> str:
    """Return a description of a release: its record, its images with their package counts, and its SBOM."""
    commit = (record.source.commit or "unknown") + (" and changes" if record.source.dirty else "")
    lines = [f"release {record.id} ({record.color}), by {record.who}, {record.when:%Y-%m-%d %H:%M:%S} UTC, {commit}"]
    lines += [f"secret {name}: version {version}" for name, version in record.release.secrets.items()]
    parts = [part["bom-ref"].partition("/")[0] for part in json.loads(bill)["components"]] if bill else []
    for image, reference in record.release.images.by_name().items():
        made = f": {parts.count(image) - 1} packages" if parts else ""
        lines.append(f"image {image} {reference}{made}")
    if parts:
        lines.append(f"SBOM: {len(parts):,} components, CycloneDX (--sbom prints it)")
    else:
        lines.append("no SBOM: it was not deployed from where it was built (--sbom asks its images on the host)")
    return "\n".join(lines) + "\n"


def provisioning(report: ProvisionReport, *, check: bool) -> str:
    """Return the changes that provisioning made (or would make) on each host."""
    lines = []
    for host in report.hosts:
        if host.error:
            lines.append(f"{host.name}: FAILED: {host.error}")
            continue
        changed = [operation for operation in host.operations if operation.changed]
        verb = "would change" if check else "changed"
        lines.append(f"{host.name}: {len(changed) or 'nothing'} {verb} ({host.seconds:.1f} s)")
        for operation in changed:
            lines.append(f"  {operation.name}")
            lines += [f"    {line}" for line in operation.detail.splitlines()]
        lines += [f"  note: {note}" for note in host.notes]
    return "\n".join(lines) + "\n"


def doctor(found: Sequence[Check]) -> None:
    """Print the checks, with what was found and wanted."""
    table = terminal.table("where", "check", "", "found", "wanted", "fix")
    for check in found:
        fix = "" if check.ok else check.fix
        terminal.row(table, check.where, check.name, terminal.mark(check.ok), check.found, check.wanted, fix)
    terminal.print_table(table)
    terminal.line(f"{len(found)} checks, {sum(not check.ok for check in found)} failed")


def lab(hosts: Sequence[LabHost]) -> None:
    """Print the lab's hosts."""
    table = terminal.table("host", "state", "ssh", "http", "https")
    for host in hosts:
        terminal.row(table, host.name, host.state, *(f"127.0.0.1:{port}" for port in host.ports))
    terminal.print_table(table)
