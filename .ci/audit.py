"""`make audit`: known vulnerabilities in what the lock files name, as the feeds of PyPA (OSV) and npm know them.

A feed that does not answer is said and skipped: nobody's work stops for want of a network. What is known, has a fix and
is not in `.ci/accepted.toml` fails.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ACCEPTED = ROOT / ".ci" / "accepted.toml"
LOCKS = ("requirements.lock", "app/requirements.lock", "ppmkit/steward/requirements.lock")
SECONDS = 30
"""For all of it."""
_PIP_AUDIT = (sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--disable-pip", "--format", "json")
_QUIET = ("--progress-spinner", "off", "--timeout", "5", "--desc", "off")


@dataclass(frozen=True)
class Finding:
    """A known vulnerability of a package that a lock file names."""

    package: str
    ids: tuple[str, ...]
    """All names that it goes by."""
    fix: str
    """The version that fixes it; empty when there is none yet."""


class NoAnswer(Exception):
    """The feed cannot be asked."""


def of_python(report: str) -> list[Finding]:
    """Given what pip-audit prints, return what it found. Raises NoAnswer when it had no feed."""
    dependencies = _document(report).get("dependencies", [])
    asked = [found for found in dependencies if "skip_reason" not in found]
    if not asked:
        raise NoAnswer(next((found["skip_reason"] for found in dependencies), "it looked at nothing"))
    return [
        Finding(f"{found['name']} {found['version']}", ids, ", ".join(known["fix_versions"]))
        for found in asked
        for known in found["vulns"]
        for ids in [tuple(sorted({known["id"], *known["aliases"]}))]
    ]


def of_npm(report: str) -> list[Finding]:
    """Given what `npm audit` prints, return what it found. Raises NoAnswer when it had no feed."""
    document = _document(report)
    if "vulnerabilities" not in document:
        raise NoAnswer(document.get("message") or document.get("error") or "it looked at nothing")
    return [
        Finding(f"{name} {via['range']}", (via["url"].rpartition("/")[2],), fix)
        for name, found in document["vulnerabilities"].items()
        for fix in ["npm audit fix" if found["fixAvailable"] else ""]
        for via in found["via"]
        if isinstance(via, dict)  # else it is the name of a package that has the finding
    ]


def _document(report: str) -> dict[str, Any]:
    try:
        found = json.loads(report)
    except ValueError:
        raise NoAnswer("it printed no report") from None
    if not isinstance(found, dict):
        raise NoAnswer("it printed no report")
    return found


def accepted(text: str, today: date) -> set[str]:
    """Given the file of what is accepted, return the names that count today. Raises KeyError for half an entry."""
    entries = tomllib.loads(text).get("accepted", [])
    return {entry["id"] for entry in entries if entry["reason"] and entry["until"] >= today}


def judge(findings: Sequence[Finding], fine: set[str]) -> list[Finding]:
    """Return those that must be fixed."""
    return [finding for finding in findings if finding.fix and not fine.intersection(finding.ids)]


def ask(argv: Sequence[str], folder: Path, read: Callable[[str], list[Finding]]) -> list[Finding] | str:
    """Return what a program found, or words for why it found nothing."""
    if shutil.which(argv[0]) is None:
        return f"{argv[0]} is not installed"
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
        return read(done.stdout)
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} s"
    except NoAnswer as why:
        last = done.stderr.strip().rpartition("\n")[2]
        return f"{why}: {last}" if last and not done.stdout else str(why)


def python(locks: Sequence[str]) -> list[str]:
    """Return the argv that asks about what these files name."""
    return [*_PIP_AUDIT, *_QUIET, *(part for lock in locks for part in ("-r", lock))]


def main() -> int:
    """Ask both feeds, say what they know, and return the exit code."""
    npm = ["npm", "audit", "--json", "--package-lock-only", "--fetch-retries", "0"]
    with ThreadPoolExecutor() as pool:
        asked = {
            "Python": pool.submit(ask, python(LOCKS), ROOT, of_python),
            "npm": pool.submit(ask, npm, ROOT / "app" / "ui", of_npm),
        }
        answers = {what: job.result() for what, job in asked.items()}
    fine = accepted(ACCEPTED.read_text(), datetime.now(UTC).date())
    failed = False
    for what, answer in answers.items():
        if isinstance(answer, str):
            sys.stdout.write(f"{what}: skipped: {answer}\n")
            continue
        bad = judge(answer, fine)
        failed = failed or bool(bad)
        sys.stdout.write(f"{what}: {len(answer)} known vulnerabilities, {len(bad)} to be fixed\n")
        for finding in answer:
            mark = "FIX" if finding in bad else "accepted" if finding.fix else "no fix yet"
            sys.stdout.write(f"  {mark}  {finding.package}  {' '.join(finding.ids)}  {finding.fix}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
