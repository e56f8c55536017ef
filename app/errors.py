"""What a user can mend: it is said in a sentence, without a traceback. Imports nothing, so that help is quick."""

from __future__ import annotations


class PpmError(Exception):
    """The text says what is wrong and what to do."""
