"""Root directories of the kit and of the user's project. In this checkout they are the same."""

from __future__ import annotations

from pathlib import Path

KIT = Path(__file__).resolve().parent.parent
"""Files that the kit provides: templates, the Compose file, image recipes, the lab's hosts, examples, tasks."""
PROJECT = KIT
"""Files that the user writes (application, inventory, secrets), and ppmctl's state in ``.ppmctl``."""
