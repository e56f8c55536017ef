"""The deployment kit behind ``ppmctl``: a package for each noun. Imports run down only; `make lint` keeps it so."""

__version__ = "0.2.0"
"""The version of ppmctl. A host remembers it (`ppmkit/host/version.py`)."""
