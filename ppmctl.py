"""The command line: parse, call one function of ``deploy/``, print. No logic."""


def main() -> None:
    raise SystemExit("not yet")
