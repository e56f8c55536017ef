"""The deployment kit behind ``ppmctl``. Imports run downwards only; see docs/architecture.md."""
