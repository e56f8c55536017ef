"""Results for people: tables and short texts on stdout. What `--json` prints is the models themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ByteSize
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ppmkit.cli import backup_lines
from ppmkit.plan.diff import SETTINGS
from ppmkit.redact import shown

if TYPE_CHECKING:
    from ppmkit.actions.backup import Summary, Verdict, Verification
    from ppmkit.actions.deploy import Deployment
    from ppmkit.actions.drill import Drill
    from ppmkit.actions.recover import Recovery
    from ppmkit.actions.restore import Restored
    from ppmkit.actions.rollback import Rollback
    from ppmkit.actions.status import HostStatus, Status
    from ppmkit.actions.up import Arrival
    from ppmkit.doctor.checks import Check
    from ppmkit.lab import LabHost
    from ppmkit.operation.journal import Past
    from ppmkit.orchestrator.stack import Stack
    from ppmkit.plan.model import EnvironmentPlan, HostPlan
    from ppmkit.provision.report import ProvisionReport
    from ppmkit.release.model import Record

_WIDTH_IN_A_PIPE = 140


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_IN_A_PIPE)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _text(text: str, style: str = "") -> Text:
    """Return a text as it may be shown: what comes from a host is no markup, and commands no terminal."""
    return Text(shown(text), style=style)


def _row(table: Table, *cells: str | Text, style: str = "") -> None:
    table.add_row(*(_text(cell) if isinstance(cell, str) else cell for cell in cells), style=style)


def _say(*parts: str | Text) -> None:
    """Print a line."""
    _console().print(Text.assemble(*(_text(part) if isinstance(part, str) else part for part in parts)), soft_wrap=True)


def _mark(ok: bool) -> Text:
    return _text("ok", "green") if ok else _text("no", "red")


def arrival(found: Arrival) -> str:
    """Return what somebody needs to know after `up`."""
    e = "" if found.environment == "lab" else f" -e {found.environment}"
    if found.compose_project:
        compose = f"docker compose -p {found.compose_project}"
        token, status, logs = f"{compose} exec api ppm token create me", f"{compose} ps", f"{compose} logs -f"
        change = "change something below app/: the api and the page reload by themselves"
    else:
        token, status, logs = f"ppmctl exec{e} api -- ppm token create me", f"ppmctl status{e}", f"ppmctl logs{e} -f"
        change = f"change something below app/ or deploy/inventory/, then: ppmctl deploy{e}"
    what = "is up" if found.changed else "was up already; nothing changed"
    return f"""
ppm {what} ({found.seconds:g} s)

  URL       {found.url}
  token     {token}
  status    {status}
  logs      {logs}
  upgrade   {change}
  away      ppmctl down{e}

ppmctl lies in .venv/bin: source .venv/bin/activate
"""


def deployment(done: Deployment) -> str:
    """Return how a deploy went, in a few lines."""
    if not done.changed:
        return f"nothing to do: release {done.release} serves at {done.url} ({done.seconds:.1f} s)\n"
    was = f", before: {done.previous}" if done.previous else ""
    return f"release {done.release} serves at {done.url} ({done.seconds:.1f} s, {done.bytes_sent:,} bytes sent{was})\n"


def recovery(found: Sequence[Recovery]) -> str:
    """Return what became of operations that were cut short."""
    lines = []
    for host in found:
        if host.kind is None:
            lines.append(f"{host.host}: nothing was cut short; release {host.serves or 'none'} serves")
        else:
            lines.append(
                f"{host.host}: {host.kind} of {host.release} {host.outcome}; {host.serves or 'nothing'} serves"
            )
    return "\n".join(lines) + "\n"


def rollback(found: Sequence[Rollback]) -> str:
    """Return how a rollback went."""
    return "".join(
        f"{host.host}: release {host.release} serves again, before: {host.previous}; "
        f"the data was {'left ' if host.data == 'untouched' else ''}{host.data} "
        f"(users were back after {host.served_seconds:.1f} s; {host.seconds:.1f} s in all)\n"
        f"{_held(host.failed)}"
        for host in found
    )


def _held(failed: str) -> str:
    return f"while requests waited: {failed}\n" if failed else ""


def history(found: Sequence[Past]) -> None:
    """Print what was done on a host."""
    table = _table("when", "what", "release", "outcome", "seconds", "who", "error")
    for past in found:
        style = {"done": "green", "undone": "yellow"}.get(past.outcome, "red")
        error = (past.error or "").splitlines()
        when = past.began.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        outcome, first = _text(past.outcome, style), error[0] if error else ""
        _row(table, when, past.kind, past.release, outcome, f"{past.seconds:.1f}", past.who, first)
    _console().print(table)


def plan(found: EnvironmentPlan) -> None:
    """Print what would change on every host: plain text in a pipe, coloured on a terminal."""
    for host in found.hosts:
        for line in _host_plan(host):
            _say(_text(line, _style(line)))
    for note in found.notes:
        _say(_text(f"# note: {note}", "bold"))
    for problem in found.problems:
        _say(_text(f"! {problem}", "red"))
    deploys = any(host.basis and host.basis.changes for host in found.hosts)
    provisions = any(section.name == SETTINGS for host in found.hosts for section in host.sections)
    for command in ["deploy"] * deploys + ["provision"] * provisions:
        _say(f"To do this: ppmctl {command} -e {found.environment}")
    if not found.changed and not found.problems:
        _say(f"no differences: release {found.release} is what the hosts have")


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
    verdict = _text("healthy", "green") if found.healthy else _text("not healthy", "red")
    _say(f"{found.environment}  {found.url}  ", verdict)
    for host in found.hosts:
        _say("\n", _text(host.name, "bold"), f"  release {host.release or 'none'}  {host.color or ''}")
        _console().print(_services(host))
        if host.backups:
            _say("\n".join(backup_lines.of(host.backups, datetime.now(UTC))))
    for problem in found.problems:
        _say(_text("!", "red"), f" {problem}")


def _services(host: HostStatus) -> Table:
    table = _table("service", "colour", "release", "running", "since")
    for service in host.services:
        style = "dim" if service.wanted == 0 and service.running == 0 else ""
        since = service.since.astimezone().strftime("%Y-%m-%d %H:%M:%S") if service.since else ""
        count = _text(f"{service.running}/{service.wanted}", "" if service.running == service.wanted else "red")
        _row(table, service.name, service.color or "", service.release or "", count, since, style=style)
    return table


def releases(found: Sequence[Record], stack: Stack) -> None:
    """Print the releases of a host."""
    table = _table("release", "", "colour", "when", "who", "commit", "schema", "seconds")
    for record in found:
        current = "current" if stack.record and stack.record.id == record.id else ""
        commit = (record.source.commit or "")[:10] + ("+" if record.source.dirty else "")
        seconds = f"{sum(step.seconds for step in record.steps):.1f}"
        when = record.when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        _row(table, record.id, current, record.color, when, record.who, commit, record.schema_after or "", seconds)
    _console().print(table)


def release(record: Record, bill: str | None) -> str:
    """Return a release in words: its record, its images and how much each holds, and whether there is an SBOM."""
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
    """Return what provisioning did (or would do) on each host."""
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
    """Print what was checked, found and wanted."""
    table = _table("where", "check", "", "found", "wanted", "fix")
    for check in found:
        fix = "" if check.ok else check.fix
        _row(table, check.where, check.name, _mark(check.ok), check.found, check.wanted, fix)
    _console().print(table)
    _say(f"{len(found)} checks, {sum(not check.ok for check in found)} off")


def lab(hosts: Sequence[LabHost]) -> None:
    """Print the lab's hosts."""
    table = _table("host", "state", "ssh", "http", "https")
    for host in hosts:
        _row(table, host.name, host.state, *(f"127.0.0.1:{port}" for port in host.ports))
    _console().print(table)


def backups(found: Sequence[Summary]) -> None:
    """Print backups."""
    table = _table("host", "backup", "kind", "created", "size", "database", "rows", "schema", "verified")
    for each in found:
        kind = f"{each.kind}, pinned" if each.pinned else each.kind
        created = each.created.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        sizes = [ByteSize(size).human_readable() for size in (each.bytes, each.plain_bytes)]
        verified = _text(str(each.level), "green") if each.verified else _text("no", "red")
        _row(table, each.host, each.id, kind, created, *sizes, f"{each.rows:,}", each.revision or "", verified)
    _console().print(table)


def verifications(found: Sequence[Verification]) -> None:
    """Print how verifications went."""
    table = _table("host", "backup", "outcome", "level", "seconds", "seen")
    for each in found:
        style = {"ok": "green", "failed": "red"}.get(each.outcome, "yellow")
        outcome = _text(each.outcome, style)
        _row(table, each.host, each.id, outcome, each.level, f"{each.seconds:.1f}", each.seen)
    _console().print(table)


def drills(found: Sequence[Drill]) -> None:
    """Print how drills went."""
    table = _table("host", "backup", "outcome", "seconds", "evidence")
    for each in found:
        outcome = _text(each.outcome, "green" if each.outcome == "ok" else "red")
        _row(table, each.host, each.id, outcome, f"{each.seconds:.1f}", each.evidence)
    _console().print(table)


def verdicts(found: Sequence[Verdict], *, dry_run: bool) -> None:
    """Print which backups stay, which go, and why."""
    goes = "would go" if dry_run else "gone"
    table = _table("host", "backup", "", "why")
    for each in found:
        _row(table, each.host, each.id, "stays" if each.keep else _text(goes, "yellow"), each.why)
    _console().print(table)


def restored(done: Restored) -> None:
    """Print how a restore went."""
    _say(
        f"{done.host}: the database is that of backup {done.id}; requests waited at most {done.held_seconds:.1f} s "
        f"({done.seconds:.1f} s in all)"
    )
    _say(f"{_held(done.failed)}{done.safety}")
