"""What a repository's files reveal: languages, license, manifests, number of TODOs. Without I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

LARGEST_SOURCE = 1 << 20
"""Maximum size of a file that is read, in bytes: a larger one was hardly written by hand."""
MOST_MANIFESTS = 50
_LONGEST_PATH = 300
_TODO = re.compile(rb"\b(?:TODO|FIXME|XXX)\b")
_LICENSE = re.compile(r"(?:un)?licen[cs]e|copying", re.IGNORECASE)
_MANIFESTS = frozenset(
    {
        *("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile", "package.json", "deno.json"),
        *("Cargo.toml", "go.mod", "pom.xml", "build.gradle", "build.gradle.kts", "Gemfile", "composer.json"),
        *("mix.exs", "CMakeLists.txt", "meson.build", "Package.swift", "pubspec.yaml", "flake.nix"),
        *("Dockerfile", "compose.yaml", "docker-compose.yml"),
    }
)
_EXTENSIONS = {
    "Ada": "adb ads",
    "Assembly": "asm s",
    "C": "c h",
    "C#": "cs",
    "C++": "cc cpp cxx hh hpp hxx",
    "CSS": "css less sass scss",
    "Clojure": "clj cljs",
    "Dart": "dart",
    "Elixir": "ex exs",
    "Erlang": "erl hrl",
    "F#": "fs fsx",
    "Fortran": "f f90 f95",
    "Go": "go",
    "HTML": "htm html",
    "Haskell": "hs",
    "Java": "java",
    "JavaScript": "cjs js jsx mjs",
    "Julia": "jl",
    "Kotlin": "kt kts",
    "Lua": "lua",
    "Nix": "nix",
    "OCaml": "ml mli",
    "Objective-C": "m mm",
    "PHP": "php",
    "Perl": "pl pm",
    "PowerShell": "ps1",
    "Python": "py pyi pyx",
    "R": "r",
    "Ruby": "rb",
    "Rust": "rs",
    "SQL": "sql",
    "Scala": "scala",
    "Shell": "bash sh zsh",
    "Svelte": "svelte",
    "Swift": "swift",
    "Terraform": "tf",
    "TypeScript": "cts mts ts tsx",
    "Vue": "vue",
    "Zig": "zig",
}
_LANGUAGES = {ext: language for language, extensions in _EXTENSIONS.items() for ext in extensions.split()}
_LICENSES = (
    ("AGPL-3.0", "gnu affero general public license version 3"),
    ("LGPL-3.0", "gnu lesser general public license version 3"),
    ("LGPL-2.1", "gnu lesser general public license version 2.1"),
    ("GPL-3.0", "gnu general public license version 3"),
    ("GPL-2.0", "gnu general public license version 2"),
    ("Apache-2.0", "apache license version 2.0"),
    ("MPL-2.0", "mozilla public license version 2.0"),
    ("EPL-2.0", "eclipse public license - v 2.0"),
    ("BSL-1.0", "boost software license - version 1.0"),
    ("Unlicense", "this is free and unencumbered software released into the public domain"),
    ("CC0-1.0", "cc0 1.0 universal"),
    ("ISC", "permission to use, copy, modify, and/or distribute this software for any purpose"),
    ("MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("BSD-2-Clause", "redistribution and use in source and binary forms"),
)
"""Each license, by words that come first in it: many licenses name others further down."""
_BSD_3 = "endorse or promote products derived from this software"


@dataclass(frozen=True, slots=True)
class File:
    """A regular file of the last commit."""

    path: str
    blob: str
    """Git's id of its content."""

    @property
    def language(self) -> str | None:
        """The language that it is written in, judging by its name."""
        return _LANGUAGES.get(PurePosixPath(self.path).suffix[1:].lower())

    @property
    def is_license(self) -> bool:
        """Whether it is the license of the repository."""
        return "/" not in self.path and _LICENSE.match(self.path) is not None

    @property
    def is_manifest(self) -> bool:
        """Whether it declares the repository's dependencies, or how it is built."""
        return self.path.rpartition("/")[2] in _MANIFESTS and len(self.path) <= _LONGEST_PATH


@dataclass(frozen=True)
class Content:
    """What the files of the last commit reveal."""

    files: int = 0
    size_bytes: int = 0
    """Size of the code."""
    todos: int = 0
    languages: tuple[tuple[str, int], ...] = ()
    """Bytes of each language, largest first."""
    license: str | None = None
    manifests: tuple[str, ...] = ()
    """Paths, top-level ones first."""


class Reading:
    """Adds up what the files reveal, one content after another."""

    def __init__(self, files: Iterable[File]) -> None:
        self.uses: dict[str, list[File]] = {}
        """The files worth reading, by blob: several files may have the same content."""
        self._files = 0
        self._manifests: list[str] = []
        for file in files:
            self._files += 1
            if file.is_manifest:
                self._manifests.append(file.path)
            if file.language is not None or file.is_license:
                self.uses.setdefault(file.blob, []).append(file)
        self._languages: Counter[str] = Counter()
        self._todos = 0
        self._license: str | None = None

    def measure(self, blob: str, size: int) -> None:
        """Take the size of a blob into account."""
        for file in self.uses[blob]:
            if file.language is not None:
                self._languages[file.language] += size

    def read(self, blob: str, content: bytes) -> None:
        """Take the content of a blob into account."""
        for file in self.uses[blob]:
            if file.language is not None:
                self._todos += len(_TODO.findall(content))
            if file.is_license:
                self._license = self._license or license_of(content.decode(errors="replace"))

    def result(self) -> Content:
        """Return the totals."""
        return Content(
            files=self._files,
            size_bytes=self._languages.total(),
            todos=self._todos,
            languages=tuple(self._languages.most_common()),
            license=self._license,
            manifests=tuple(sorted(self._manifests, key=lambda path: (path.count("/"), path))[:MOST_MANIFESTS]),
        )


def license_of(text: str) -> str | None:
    """Given the text of a license, return its SPDX identifier; None when it is not one of the common ones."""
    words = " ".join(re.sub(r"[^\w.,/-]+", " ", text.lower()).replace("license,", "license").split())
    matches = [(words.index(mark), name) for name, mark in _LICENSES if mark in words]
    name = min(matches)[1] if matches else None
    return "BSD-3-Clause" if name == "BSD-2-Clause" and _BSD_3 in words else name
