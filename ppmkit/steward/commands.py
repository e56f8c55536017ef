"""What ppmctl asks of the steward about backups; each returns a document for JSON."""

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
        added: argparse.ArgumentParser = commands.add_parser(act.__name__.replace("_", "-"), help=help)
        added.set_defaults(act=act)
        return added

    made = command(backup, "back up the live database")
    made.add_argument("--kind", choices=["manual", "nightly"], default="manual")
    made.add_argument("--pinned", action="store_true")
    command(list_backups, "list the backups, newest first")
    fetched = command(fetch, "bring a backup here from a target")
    fetched.add_argument("target")
    fetched.add_argument("id", help="or latest")
    command(show, "show all that is known of a backup").add_argument("id")
    checked = command(check, "verify backups")
    checked.add_argument("ids", nargs="*", help="default: all of them")
    checked.add_argument("--key", action="store_true", help="a private key comes on stdin")
    staged = command(stage, "decode a backup to a file and verify it there")
    staged.add_argument("id")
    staged.add_argument("target", type=Path)
    staged.add_argument("--key", action="store_true", help="a private key comes on stdin")
    command(moments, "tell from when to when any moment can be had")
    had = command(stage_at, "put together what the database was at a moment, and verify it")
    had.add_argument("moment", type=datetime.fromisoformat)
    had.add_argument("target", type=Path)
    filed = command(file_copy, "make a backup of a copy that was made before the database changed, and remove it")
    filed.add_argument("copied", type=Path)
    filed.add_argument("--kind", choices=["safety", "migration"], default="safety")
    filed.add_argument("--seconds", type=float, default=0, help="how long it took to make while others wrote")
    filed.add_argument("--leave", action="store_true", help="leave the copy, and remove only older ones beside it")
    attested = command(attest, "keep beside a backup how a drill with the application went")
    attested.add_argument("id")
    attested.add_argument("outcome", choices=["ok", "failed", "inconclusive"])
    attested.add_argument("seen")
    attested.add_argument("seconds", type=float)
    command(nightly, "make the backup of the schedule, then remove those that no rule keeps")
    command(copies, "copy to a target every backup that it lacks").add_argument("target")
    command(prove, "read back the latest backup, and another by chance, as far as it goes without a key")
    command(retain, "remove the backups that no rule keeps").add_argument("--dry-run", action="store_true")


def backup(*, kind: Kind, pinned: bool) -> dict[str, Any]:
    """Back up the live database, and copy that to every target."""
    told = settings()
    made = create(told.database, told.backups, told.wishes, kind=kind, pinned=pinned)
    return {**made, "targets": targets.push(catalog.find(told.backups, made["id"]), told.targets)}


def nightly() -> dict[str, Any]:
    """Make the backup of the schedule, then remove what no rule keeps; return what was done."""
    told = settings()
    made = create(told.database, told.backups, told.wishes, kind="nightly")
    kept = retain(dry_run=False)
    return {"made": made["id"], "seconds": made["seconds"], "removed": [one["id"] for one in kept if not one["keep"]]}


def copies(*, target: str) -> dict[str, Any]:
    """Copy to a target the backups that it lacks, the newest first. Raises StewardError at the first that fails.

    One that holds nothing of ours is left alone: that of a host that is gone must stay as it is, until a backup of it
    was restored here.
    """
    told = settings()
    place = _place(told, target)
    there, here = targets.listed(place), catalog.catalog(told.backups)
    if there and not {each.id for each in here} & set(there):
        raise StewardError(
            f"{place} holds backups of another database, or of before: ppmctl restore --latest --from {target} brings "
            "that back; ppmctl backup create adds this one's to them"
        )
    lacking = [each for each in reversed(catalog.regular(here)) if each.id not in there]
    for each in lacking:
        if (said := targets.push(each, {target: place})[target]) != targets.OK:
            raise StewardError(said)
    return {"sent": [each.id for each in lacking]}


def prove() -> list[dict[str, Any]]:
    """Read back the latest backup, and another by chance. Raises StewardError when one is not sound."""
    told = settings()
    ids = [each.id for each in reversed(catalog.catalog(told.backups))]
    chosen = ids[:1] + ([random.choice(ids[1:])] if ids[1:] else [])  # noqa: S311 (it is no secret which)
    if not chosen:
        return []
    found = check(ids=chosen, key=False)
    if failed := [one for one in found if one["outcome"] == "failed"]:
        raise StewardError("; ".join(f"backup {one['id']}: {one['seen']}" for one in failed))
    return found


def list_backups() -> list[dict[str, Any]]:
    """Return every backup's summary, newest first."""
    return [found.summary() for found in reversed(catalog.catalog(settings().backups))]


def fetch(*, target: str, id: str) -> dict[str, Any]:
    """Bring a backup here from a target, which the settings name. Raises StewardError when it is not whole."""
    told = settings()
    place = _place(told, target)
    with catalog.alone(told.backups, told.wishes.patience):
        return targets.fetch(place, id, told.backups).summary()


def _place(told: Settings, target: str) -> str:
    if target not in told.targets:
        raise StewardError(f"there is no target {target}; targets: {', '.join(told.targets) or 'none'}")
    return told.targets[target]


def show(*, id: str) -> dict[str, Any]:
    """Return the manifest and the evidence of one."""
    found = catalog.find(settings().backups, id)
    return {**found.summary(), "manifest": found.manifest, "evidence": list(found.evidence)}


def check(*, ids: list[str], key: bool) -> list[dict[str, Any]]:
    """Verify backups as far as it goes; return [{id, level, outcome, seen, seconds}]."""
    told, keys = settings(), _keys(key)
    with catalog.alone(told.backups, told.wishes.patience):
        chosen = [catalog.find(told.backups, id) for id in ids] or catalog.catalog(told.backups)
        return [{"id": each.id, **verify.prove(each, keys, told.backups)} for each in chosen]


def stage(*, id: str, target: Path, key: bool) -> dict[str, Any]:
    """Decode a backup to a file that is fit to take the place of the database. Raises StewardError when it is not."""
    told, keys = settings(), _keys(key)
    with catalog.alone(told.backups, told.wishes.patience):
        found = catalog.find(told.backups, id)
        evidence = verify.stage(found, keys, target)
    if evidence["outcome"] != "ok":
        target.unlink(missing_ok=True)
        kind = Inconclusive if evidence["outcome"] == "inconclusive" else StewardError
        raise kind(f"backup {found.id} cannot be restored: {evidence['seen']}")
    return {**found.summary(), "level": evidence["level"], "seconds": evidence["seconds"]}


def moments() -> list[dict[str, str]]:
    """Return [{first, last}], oldest first: any moment from the one to the other can be had."""
    return continuous.spans(settings().backups)


def stage_at(*, moment: datetime, target: Path) -> dict[str, Any]:
    """Put together what the database was at a moment, fit to take its place. Raises StewardError when it is not."""
    return continuous.recover(settings().backups, moment, target)


def file_copy(*, copied: Path, kind: Kind, seconds: float, leave: bool) -> dict[str, Any]:
    """Make a backup of a copy that nobody has open; of the others beside it none stays.

    It holds the database of when it was last written to, or ``seconds`` before.
    """
    told = settings()
    prune_copies(copied.parent, copied)
    done = file(copied, told.backups, told.wishes, name=told.database.name, kind=kind, seconds=seconds)
    if not leave:
        remove(copied)
    return done


def attest(*, id: str, outcome: Outcome, seen: str, seconds: float) -> dict[str, Any]:
    """Keep the evidence of L4, which the steward cannot see for itself."""
    found = catalog.find(settings().backups, id)
    evidence: Evidence = {"time": now(), "level": "L4", "outcome": outcome, "seen": seen, "seconds": seconds}
    catalog.add_evidence(found.directory, evidence)
    return {**evidence}


def retain(*, dry_run: bool) -> list[dict[str, Any]]:
    """Remove what no rule keeps; return [{id, keep, why}], newest first."""
    told = settings()
    with catalog.alone(told.backups, told.wishes.patience):
        verdicts = _judged(told)
        if not dry_run:
            verdicts = _removed(told, verdicts)
    return [asdict(verdict) for verdict in verdicts]


def _removed(told: Settings, verdicts: list[retention.Verdict]) -> list[retention.Verdict]:
    """Remove what goes, and return what became of it. What a target does not let go stays here too, until it does."""
    silent: dict[str, str] = {}
    done = []
    for verdict in verdicts:
        if not verdict.keep:
            for name, place in told.targets.items():  # first: what is gone here is not looked for there again
                silent |= _forgotten(name, place, verdict.id) if name not in silent else {}
            if silent:
                why = "; ".join(f"{name} does not let it go: {said}" for name, said in silent.items())
                done.append(retention.Verdict(verdict.id, keep=True, why=why))
                continue
            catalog.remove(told.backups / verdict.id)
        done.append(verdict)
    return done


def _forgotten(name: str, place: str, id: str) -> dict[str, str]:
    try:
        targets.forget(place, id)
    except (StewardError, OSError, subprocess.TimeoutExpired) as error:
        return {name: str(error)}
    return {}


def _judged(told: Settings) -> list[retention.Verdict]:
    return retention.judge([_item(found) for found in catalog.catalog(told.backups)], told.policy)


def _item(found: Backup) -> retention.Item:
    return retention.Item(
        id=found.id,
        created=found.created,
        verified=found.verified,
        pinned=found.manifest["pinned"],
        kind=found.manifest["kind"],
    )


def _keys(given: bool) -> list[Any]:
    return identities(sys.stdin.read()) if given else []
