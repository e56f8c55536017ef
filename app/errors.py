"""Errors that a user can fix: shown as one sentence, without a traceback. Imports nothing, so that help is quick."""

from __future__ import annotations


class PpmError(Exception):
    """The text says what is wrong and what to do."""
