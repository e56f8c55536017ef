"""Deployment kit behind ``ppmctl``: one package per noun. Imports only point down the layers; `make lint` checks it."""

__version__ = "0.2.0"
"""The version of ppmctl. Each host records it (`ppmkit/host/version.py`)."""
