"""Exit codes of the steward's commands for specific errors; ppmctl uses them, too."""

from __future__ import annotations

DAMAGED, INCONCLUSIVE = 65, 75
"""EX_DATAERR and EX_TEMPFAIL of sysexits.h: shells, Docker and Compose do not use these themselves."""
