"""Provisioning process: ``python -m deploy.tasks [--check] [HOST …]``. The hosts are those on which root's login is
disabled. ppmkit/provision/run.py describes its input and output."""

from __future__ import annotations

from gevent import monkey  # type: ignore[import-untyped]

monkey.patch_all()

import resource  # noqa: E402  (everything below must see the patched library)
import sys  # noqa: E402

from deploy.tasks.run import run  # noqa: E402
from ppmkit.config.environment import Environment  # noqa: E402

_MEMORY = 2 << 30


def main() -> None:
    """Read the environment, provision its hosts, print the report."""
    # pyinfra keeps all output of a host: a host that prints too much may end this process, but not the machine.
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    environment = Environment.model_validate_json(sys.stdin.read())
    arguments = sys.argv[1:]
    report = run(environment, check="--check" in arguments, without_root=[a for a in arguments if a != "--check"])
    sys.stdout.write(report.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
