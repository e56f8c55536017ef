"""Run all tasks for a host, in order. From the shell, for the environment that PPMCTL_ENV names:

pyinfra deploy/inventory/inventory.py deploy/tasks/provision.py
"""

from __future__ import annotations

import pyinfra

from deploy.tasks.base import base
from deploy.tasks.docker import docker
from deploy.tasks.hardening import hardening
from deploy.tasks.ppm import ppm
from deploy.tasks.ssh import ssh


def provision() -> None:
    """Bring the host that pyinfra is working on to the desired state."""
    # One call per line: pyinfra's command line orders operations by the line of their call.
    base()
    ssh()
    docker()
    ppm()
    hardening()


if pyinfra.is_cli:
    provision()
