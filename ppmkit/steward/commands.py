"""The steward's backup commands for ppmctl. Each returns a JSON document."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from . import catalog, continuous, retention, targets, verify
from .archive import identities
from .backup import create, file
from .catalog import Backup, Evidence, Kind, Outcome, now
from .errors import Inconclusive, StewardError
from .files import prune_copies, remove
from .settings import Settings, settings


def add(commands: Any) -> None:
    """Add these commands to a parser's."""

    def command(act: Any, help: str) -> argparse.ArgumentParser:
        subparser: argparse.ArgumentParser = commands.add_parser(act.__name__.replace("_", "-"), help=help)
        subparser.set_defaults(act=act)
        return subparser

    backup_command = command(backup, "back up the live database")
    backup_command.add_argument("--kind", choices=["manual", "nightly"], default="manual")
    backup_command.add_argument("--pinned", action="store_true")
    command(list_backups, "list the backups, newest first")
    fetch_command = command(fetch, "download a backup from a target")
    fetch_command.add_argument("target")
    fetch_command.add_argument("id", help="or latest")
    command(show, "show a backup's manifest and evidence").add_argument("id")
    check_command = command(check, "verify backups")
    check_command.add_argument("ids", nargs="*", help="default: all of them")
    check_command.add_argument("--key", action="store_true", help="read a private key from stdin")
    stage_command = command(stage, "decode a backup to a file and verify it there")
    stage_command.add_argument("id")
    stage_command.add_argument("target", type=Path)
    stage_command.add_argument("--key", action="store_true", help="read a private key from stdin")
    command(moments, "list the time ranges that can be restored")
    stage_at_command = command(stage_at, "reconstruct the database as it was at a time, and verify it")
    stage_at_command.add_argument("moment", type=datetime.fromisoformat)
    stage_at_command.add_argument("target", type=Path)
    file_command = command(file_copy, "turn a copy from before a change of the database into a backup, and remove it")
    file_command.add_argument("copied", type=Path)
    file_command.add_argument("--kind", choices=["safety", "migration"], default="safety")
    file_command.add_argument("--seconds", type=float, default=0, help="how long the copy took during writes")
    file_command.add_argument("--leave", action="store_true", help="keep the copy, and remove only older ones")
    attest_command = command(attest, "record with a backup the result of a drill with the application")
    attest_command.add_argument("id")
    attest_command.add_argument("outcome", choices=["ok", "failed", "inconclusive"])
    attest_command.add_argument("seen")
    attest_command.add_argument("seconds", type=float)
    command(nightly, "create the scheduled backup, then remove those that no rule keeps")
    command(copies, "copy all missing backups to a target").add_argument("target")
    command(prove, "verify the latest backup and a random other one, as far as possible without a key")
    command(retain, "remove the backups that no rule keeps").add_argument("--dry-run", action="store_true")


def backup(*, kind: Kind, pinned: bool) -> dict[str, Any]:
    """Back up the live database, and copy the backup to every target."""
    config = settings()
    created = create(config.database, config.backups, config.options, kind=kind, pinned=pinned)
    return {**created, "targets": targets.push(catalog.find(config.backups, created["id"]), config.targets)}


def nightly() -> dict[str, Any]:
    """Create the scheduled backup, then remove backups that no rule keeps; return the changes."""
    config = settings()
    created = create(config.database, config.backups, config.options, kind="nightly")
    removed = [one["id"] for one in retain(dry_run=False) if not one["keep"]]
    return {"made": created["id"], "seconds": created["seconds"], "removed": removed}


def copies(*, target: str) -> dict[str, Any]:
    """Copy to a target the backups that it lacks, newest first. Raises StewardError at the first failure.

    A target without any of our backups is left alone: the backups of a lost host must stay unchanged until one of them
    is restored here.
    """
    config = settings()
    place = _place(config, target)
    remote, local = targets.listed(place), catalog.catalog(config.backups)
    if remote and not {each.id for each in local} & set(remote):
        raise StewardError(
            f"{place} contains backups of another or an earlier database: ppmctl restore --latest --from {target} "
            "restores that one; ppmctl backup create adds backups of this one"
        )
    lacking = [each for each in reversed(catalog.regular(local)) if each.id not in remote]
    for each in lacking:
        if (result := targets.push(each, {target: place})[target]) != targets.OK:
            raise StewardError(result)
    return {"sent": [each.id for each in lacking]}


def prove() -> list[dict[str, Any]]:
    """Verify the latest backup and a random other one. Raises StewardError if one is damaged."""
    config = settings()
    ids = [each.id for each in reversed(catalog.catalog(config.backups))]
    chosen = ids[:1] + ([random.choice(ids[1:])] if ids[1:] else [])  # noqa: S311 (the choice is not secret)
    if not chosen:
        return []
    results = check(ids=chosen, key=False)
    if failed := [one for one in results if one["outcome"] == "failed"]:
        raise StewardError("; ".join(f"backup {one['id']}: {one['seen']}" for one in failed))
    return results


def list_backups() -> list[dict[str, Any]]:
    """Return every backup's summary, newest first."""
    return [each.summary() for each in reversed(catalog.catalog(settings().backups))]


def fetch(*, target: str, id: str) -> dict[str, Any]:
    """Download a backup from a target in the settings. Raises StewardError if it is incomplete or damaged."""
    config = settings()
    place = _place(config, target)
    with catalog.alone(config.backups, config.options.lock_timeout):
        return targets.fetch(place, id, config.backups).summary()


def _place(config: Settings, target: str) -> str:
    if target not in config.targets:
        raise StewardError(f"there is no target {target}; targets: {', '.join(config.targets) or 'none'}")
    return config.targets[target]


def show(*, id: str) -> dict[str, Any]:
    """Return a backup's manifest and evidence."""
    backup = catalog.find(settings().backups, id)
    return {**backup.summary(), "manifest": backup.manifest, "evidence": list(backup.evidence)}


def check(*, ids: list[str], key: bool) -> list[dict[str, Any]]:
    """Verify backups up to the highest possible level; return [{id, level, outcome, seen, seconds}]."""
    config, keys = settings(), _keys(key)
    with catalog.alone(config.backups, config.options.lock_timeout):
        chosen = [catalog.find(config.backups, id) for id in ids] or catalog.catalog(config.backups)
        return [{"id": each.id, **verify.prove(each, keys, config.backups)} for each in chosen]


def stage(*, id: str, target: Path, key: bool) -> dict[str, Any]:
    """Decode a backup to a file that can replace the database. Raises StewardError if verification fails."""
    config, keys = settings(), _keys(key)
    with catalog.alone(config.backups, config.options.lock_timeout):
        backup = catalog.find(config.backups, id)
        evidence = verify.stage(backup, keys, target)
    if evidence["outcome"] != "ok":
        target.unlink(missing_ok=True)
        kind = Inconclusive if evidence["outcome"] == "inconclusive" else StewardError
        raise kind(f"backup {backup.id} cannot be restored: {evidence['seen']}")
    return {**backup.summary(), "level": evidence["level"], "seconds": evidence["seconds"]}


def moments() -> list[dict[str, str]]:
    """Return [{first, last}], oldest first: the time ranges in which any time can be restored."""
    return continuous.spans(settings().backups)


def stage_at(*, moment: datetime, target: Path) -> dict[str, Any]:
    """Reconstruct the database as it was at a time, ready to replace it. Raises StewardError on failure."""
    return continuous.recover(settings().backups, moment, target)


def file_copy(*, copied: Path, kind: Kind, seconds: float, leave: bool) -> dict[str, Any]:
    """Turn a copy that no process has open into a backup, and remove the other copies next to it.

    It contains the database as of the copy's last write, or ``seconds`` before.
    """
    config = settings()
    prune_copies(copied.parent, copied)
    summary = file(copied, config.backups, config.options, name=config.database.name, kind=kind, seconds=seconds)
    if not leave:
        remove(copied)
    return summary


def attest(*, id: str, outcome: Outcome, seen: str, seconds: float) -> dict[str, Any]:
    """Record evidence of L4, which the steward cannot test itself."""
    backup = catalog.find(settings().backups, id)
    evidence: Evidence = {"time": now(), "level": "L4", "outcome": outcome, "seen": seen, "seconds": seconds}
    catalog.add_evidence(backup.directory, evidence)
    return {**evidence}


def retain(*, dry_run: bool) -> list[dict[str, Any]]:
    """Remove backups that no rule keeps; return [{id, keep, why}], newest first."""
    config = settings()
    with catalog.alone(config.backups, config.options.lock_timeout):
        verdicts = retention.judge([_item(each) for each in catalog.catalog(config.backups)], config.policy)
        if not dry_run:
            verdicts = _remove_obsolete(config, verdicts)
    return [asdict(verdict) for verdict in verdicts]


def _remove_obsolete(config: Settings, verdicts: list[retention.Verdict]) -> list[retention.Verdict]:
    """Remove obsolete backups; return the actual results. A backup that a target cannot remove stays here, too."""
    failures: dict[str, str] = {}
    results = []
    for verdict in verdicts:
        if not verdict.keep:
            for name, place in config.targets.items():  # first, because only backups that exist here are tried again
                failures |= _forget(name, place, verdict.id) if name not in failures else {}
            if failures:
                why = "; ".join(f"it cannot be removed from {name}: {error}" for name, error in failures.items())
                results.append(retention.Verdict(verdict.id, keep=True, why=why))
                continue
            catalog.remove(config.backups / verdict.id)
        results.append(verdict)
    return results


def _forget(name: str, place: str, id: str) -> dict[str, str]:
    """Remove a backup from a target; return {target: error} on failure."""
    try:
        targets.forget(place, id)
    except (StewardError, OSError, subprocess.TimeoutExpired) as error:
        return {name: str(error)}
    return {}


def _item(backup: Backup) -> retention.Item:
    return retention.Item(
        id=backup.id,
        created=backup.created,
        verified=backup.verified,
        pinned=backup.manifest["pinned"],
        kind=backup.manifest["kind"],
    )


def _keys(from_stdin: bool) -> list[Any]:
    return identities(sys.stdin.read()) if from_stdin else []
