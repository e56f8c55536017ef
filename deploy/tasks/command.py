"""Shell scripts with a summary: reports show the summary, not the script."""

from __future__ import annotations

from pyinfra.api.command import FileDownloadCommand, FileUploadCommand, PyinfraCommand, StringCommand


class Script(StringCommand):
    """A shell script and its summary. Content to write is passed on standard input, never in argv."""

    def __init__(self, script: str | StringCommand, *, summary: str, stdin: str | None = None) -> None:
        # pyinfra adds a newline to the last line that it sends.
        arguments = {} if stdin is None else {"_stdin": [stdin.removesuffix("\n")]}
        super().__init__(script, **arguments)  # type: ignore[arg-type]  # one key of a TypedDict
        self.summary = summary


def describe(command: PyinfraCommand | str) -> str:
    """Return a command's description: its summary, else the command itself. Never a file's content."""
    if isinstance(command, Script):
        return command.summary
    if isinstance(command, FileUploadCommand | FileDownloadCommand):
        return f"write {command.dest}"
    return str(command).strip()
