"""Local files: atomic replacement, and how messages display paths."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def shown(path: Path) -> str:
    """Return the path for display: relative if it is below the working directory."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def too_open(path: Path) -> str:
    """Return the message for a file or directory that others can read, with the fix."""
    mode = 700 if path.is_dir() else 600
    return f"{shown(path)} can be read by others: chmod {mode} {shown(path)}"


def replace(path: Path, content: bytes, mode: int) -> None:
    """Replace a file atomically. Only its owner can read it until it has its final mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=".new.")  # mode 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    Path(scratch).chmod(mode)
    Path(scratch).replace(path)
