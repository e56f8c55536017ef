"""No text is read or written in the encoding that this machine's locale happens to have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ppmkit.paths import KIT

FILES = [KIT / "ppmctl.py", *sorted((KIT / "ppmkit").rglob("*.py")), *sorted((KIT / "docs").rglob("*.py"))]
BINARY = {"rb", "wb", "ab", "xb", "rb+"}
NO_TEXT = {"os.open", "tarfile.open", "gzip.open"}


def unspecified(source: str) -> Iterator[int]:
    """Yield the line of every call that reads or writes text and names no encoding. (Ruff's PLW1514 sees only those
    whose receiver's type it knows.)"""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        called = ast.unparse(node.func)
        name = called.rpartition(".")[2]
        arguments = [*node.args, *(word.value for word in node.keywords)]
        modes = {argument.value for argument in arguments if isinstance(argument, ast.Constant)}
        opens = name in ("open", "fdopen") and called not in NO_TEXT
        text = any(word.arg == "text" for word in node.keywords)
        if text or name in ("read_text", "write_text") or (opens and not modes & BINARY):
            yield node.lineno


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(KIT)))
def test_whatever_reads_or_writes_text_names_its_encoding(file: Path) -> None:
    assert list(unspecified(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "call",
    [
        "path.read_text()",
        "a.b().write_text(text)",
        "path.open()",
        "open(path, 'w')",
        "path.open('a')",
        "os.fdopen(file, 'w')",
        "subprocess.run(argv, text=True)",
    ],
)
def test_a_call_that_does_not_is_found(call: str) -> None:
    assert list(unspecified(f"import os\n{call}\n")) == [2]
