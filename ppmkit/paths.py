"""The two roots: the kit's own directory, and the user's project. In this checkout they are one."""

from __future__ import annotations

from pathlib import Path

KIT = Path(__file__).resolve().parent.parent
"""What the kit brings: templates, the Compose file, image recipes, the lab's hosts, examples, tasks."""
PROJECT = KIT
"""What the user writes (application, inventory, secrets), and what ppmctl keeps for them in ``.ppmctl``."""
