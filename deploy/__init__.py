"""The deployment kit behind ``ppmctl``. Imports run downwards only; see docs/architecture.md."""

__version__ = "0.2.0"
"""Three numbers. A host remembers it (deploy/version.py): raise it whenever an older ppmctl would misread what this one
leaves there."""
