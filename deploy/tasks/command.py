"""A command that says in words what it does: reports show those, not its script."""

from __future__ import annotations

from pyinfra.api.command import FileDownloadCommand, FileUploadCommand, PyinfraCommand, StringCommand


class Said(StringCommand):
    """A shell script and its words. What it writes comes by standard input, never by argv."""

    def __init__(self, script: str | StringCommand, *, says: str, stdin: str | None = None) -> None:
        # pyinfra ends the last line that it sends by a newline.
        arguments = {} if stdin is None else {"_stdin": [stdin.removesuffix("\n")]}
        super().__init__(script, **arguments)  # type: ignore[arg-type]  # one key of a TypedDict
        self.says = says


def words(command: PyinfraCommand | str) -> str:
    """Return what a command does, for people: its words, else the command itself. Never a file's content."""
    if isinstance(command, Said):
        return command.says
    if isinstance(command, FileUploadCommand | FileDownloadCommand):
        return f"write {command.dest}"
    return str(command).strip()
