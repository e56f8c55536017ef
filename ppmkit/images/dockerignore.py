"""List the files of a build context that its .dockerignore does not exclude.

The rules are BuildKit's, not gitignore's: a pattern is relative to the context's root, it also matches everything below
a directory, and the last matching pattern wins (https://docs.docker.com/build/concepts/context/#dockerignore-files;
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
    """One pattern of the file."""

    text: str
    keeps: bool
    """Whether it began with `!`: matching files are included again."""
    regex: re.Pattern[str]
    """Matches complete paths, relative to the context's root."""

    def may_keep_below(self, folder: str) -> bool:
        """Return whether the pattern may include something again below an excluded folder."""
        crosses = "**" in self.text or "[" in self.text or "\\" in self.text
        return self.keeps and (crosses or self.text.count("/") > folder.count("/"))


def files(context: Path, dockerfile: Path) -> Iterator[Path]:
    """Yield the files and links below ``context`` that a build may copy, in order.

    A file named `<Dockerfile>.dockerignore` replaces the context's `.dockerignore`.
    """
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    file = own if own.is_file() else context / ".dockerignore"
    patterns = parse(file.read_text(encoding="utf-8-sig")) if file.is_file() else []
    yield from _below(context, "", patterns, [False] * len(patterns))


def parse(text: str) -> list[Pattern]:
    """Return the patterns of a .dockerignore, in order."""
    patterns = []
    for line in text.split("\n"):
        pattern = "" if line.startswith("#") else line.strip()
        keeps = pattern.startswith("!")
        if pattern := pattern.removeprefix("!").strip():
            cleaned = posixpath.normpath(pattern).lstrip("/")
            patterns.append(Pattern(cleaned, keeps, _regex(cleaned)))
    return patterns


def _below(context: Path, folder: str, patterns: Sequence[Pattern], above: Sequence[bool]) -> Iterator[Path]:
    with os.scandir(context / folder) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        path = posixpath.join(folder, entry.name)
        excluded, matched = _match(path, patterns, above)
        if entry.is_dir(follow_symlinks=False):
            if not excluded or any(pattern.may_keep_below(path) for pattern in patterns):
                yield from _below(context, path, patterns, matched)
        elif not excluded:
            yield context / path


def _match(path: str, patterns: Sequence[Pattern], above: Sequence[bool]) -> tuple[bool, list[bool]]:
    """Return whether the path is excluded, and which patterns match it; ``above`` says which match its folder.

    As in BuildKit, a pattern that would change nothing is not tried, and counts as not matching in subfolders.
    """
    excluded = False
    matched = []
    for pattern, matches in zip(patterns, above, strict=True):
        matches = matches or (pattern.keeps == excluded and pattern.regex.fullmatch(path) is not None)
        matched.append(matches)
        if matches:
            excluded = not pattern.keeps
    return excluded, matched


def _regex(pattern: str) -> re.Pattern[str]:
    """Return a pattern's regular expression. One that BuildKit rejects matches nothing: the build reports the error."""
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
        else:  # brackets work as in a regular expression, and an escaped character is kept
            in_brackets = {"[": True, "]": False}.get(text, in_brackets)
            regex += text
    return regex
