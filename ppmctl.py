"""`ppmctl`: run the command line, and turn every error into words and an exit code. No logic.

Exit codes: 0 done; 1 failed; 2 bad usage or config; 3 differences found, or not healthy.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
from typing import NoReturn

from ppmkit.cli.app import app
from ppmkit.cli.common import Output, console, print_json


def _stop(_signal: int, _frame: object) -> NoReturn:
    """End an operation as Ctrl-C does, by undoing it: the terminal was closed, or `kill` ended the process."""
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line."""
    # Everything loaded stays: collecting garbage, now and at the end, takes a fifth of each command.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale may lack a character: print it escaped
            stream.reconfigure(errors="backslashreplace")
    output = Output()
    try:
        app(obj=output)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        import traceback

        from ppmkit.errors import PpmctlError
        from ppmkit.redact import shown

        if not isinstance(error, PpmctlError):
            sys.stderr.write(shown(traceback.format_exc()))
            raise SystemExit(1) from None
        if output.as_json:
            print_json(error.as_dict())
        else:
            console().error(error)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
