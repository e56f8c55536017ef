"""Files of this machine that are replaced as a whole, and how they are called in words."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def shown(path: Path) -> str:
    """Return the path for people: from the working directory where that is above."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def too_open(path: Path) -> str:
    """Return the words for a file or directory that others can read, with how to mend it."""
    mode = 700 if path.is_dir() else 600
    return f"{shown(path)} can be read by others: chmod {mode} {shown(path)}"


def replace(path: Path, content: bytes, mode: int) -> None:
    """Replace a file as a whole; nobody but its owner can read it before it has its mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=".new.")  # mode 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    Path(scratch).chmod(mode)
    Path(scratch).replace(path)
