"""Which files of a context a build may copy: what its .dockerignore leaves.

The rules are BuildKit's, not gitignore's: a pattern names a path from the context's root on, it matches what is below a
directory too, and the last one that matches counts (https://docs.docker.com/build/concepts/context/#dockerignore-files;
https://github.com/moby/patternmatcher, whose edge cases `tests/integration/test_dockerignore.py` compares).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_TOKEN = re.compile(r"\*\*/?|\\.|.", re.DOTALL)
_SPECIAL = re.compile(r"[*?\[\]]|\\.", re.DOTALL)
_ESCAPED = frozenset(".+()|{}$&~\\")
_NEVER = re.compile(r"(?!)")


@dataclass(frozen=True)
class Pattern:
    """One line of the file."""

    text: str
    keeps: bool
    """Whether it began with `!`: what matches is copied again."""
    regex: re.Pattern[str]
    """Matches whole paths, from the context's root on."""

    def may_keep_below(self, folder: str) -> bool:
        """Return whether the pattern may bring back something in a folder that is left out."""
        crosses = "**" in self.text or "[" in self.text or "\\" in self.text
        return self.keeps and (crosses or self.text.count("/") > folder.count("/"))


def files(context: Path, dockerfile: Path) -> Iterator[Path]:
    """Yield the files and links below ``context`` that a build may copy, in order.

    A `.dockerignore` that has the Dockerfile's name before it counts in the place of the context's.
    """
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    file = own if own.is_file() else context / ".dockerignore"
    patterns = parse(file.read_text(encoding="utf-8-sig")) if file.is_file() else []
    yield from _below(context, "", patterns, [False] * len(patterns))


def parse(text: str) -> list[Pattern]:
    """Return the patterns of a .dockerignore, in order."""
    found = []
    for line in text.split("\n"):
        pattern = "" if line.startswith("#") else line.strip()
        keeps = pattern.startswith("!")
        if pattern := pattern.removeprefix("!").strip():
            cleaned = posixpath.normpath(pattern).lstrip("/")
            found.append(Pattern(cleaned, keeps, _regex(cleaned)))
    return found


def _below(context: Path, folder: str, patterns: Sequence[Pattern], above: Sequence[bool]) -> Iterator[Path]:
    with os.scandir(context / folder) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        path = posixpath.join(folder, entry.name)
        left_out, matched = _judge(path, patterns, above)
        if entry.is_dir(follow_symlinks=False):
            if not left_out or any(pattern.may_keep_below(path) for pattern in patterns):
                yield from _below(context, path, patterns, matched)
        elif not left_out:
            yield context / path


def _judge(path: str, patterns: Sequence[Pattern], above: Sequence[bool]) -> tuple[bool, list[bool]]:
    """Return whether the path is left out, and which patterns match it; ``above`` has those that match its folder.

    As in BuildKit, a pattern that would change nothing is not tried, and then counts below as one that does not match.
    """
    left_out = False
    matched = []
    for pattern, matches in zip(patterns, above, strict=True):
        matches = matches or (pattern.keeps == left_out and pattern.regex.fullmatch(path) is not None)
        matched.append(matches)
        if matches:
            left_out = not pattern.keeps
    return left_out, matched


def _regex(pattern: str) -> re.Pattern[str]:
    """Return what a pattern matches. One that BuildKit refuses matches nothing here: the build says what is wrong."""
    try:
        return re.compile(_translated(pattern))
    except re.error:
        return _NEVER


def _translated(pattern: str) -> str:
    if not _SPECIAL.search(pattern):
        return re.escape(pattern)
    head, tail = pattern.removesuffix("**"), pattern.removeprefix("**")
    if head != pattern and not _SPECIAL.search(head):
        return f"{re.escape(head)}.*"
    if tail != pattern and not _SPECIAL.search(tail):
        return f"(?:.*/)?{re.escape(tail[1:])}" if tail.startswith("/") else f".*{re.escape(tail)}"
    regex, in_brackets = "", False
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if text.startswith("**"):
            regex += ".*" if token.end() == len(pattern) else "(?:.*/)?"
        elif text in ("*", "?"):
            regex += "[^/]*" if text == "*" else "[^/]"
        elif text in _ESCAPED or (text == "[" and in_brackets):
            regex += f"\\{text}"
        else:  # brackets are those of a regular expression, and what follows a backslash is taken as it is
            in_brackets = {"[": True, "]": False}.get(text, in_brackets)
            regex += text
    return regex
