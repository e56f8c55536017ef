"""What a command of the steward ends with when it says more than that it failed; ppmctl knows these, too."""

from __future__ import annotations

DAMAGED, INCONCLUSIVE = 65, 75
"""EX_DATAERR and EX_TEMPFAIL of sysexits.h: no shell, and neither Docker nor Compose, ends with these by itself."""
