"""The inventory of pyinfra's own command line, made from the YAML of the environment that PPMCTL_ENV names.

pyinfra deploy/inventory/inventory.py deploy/tasks/provision.py   # or any other deploy, or: exec -- uptime
"""

from __future__ import annotations

import os

from deploy.tasks import connection
from ppmkit.config.file import load

hosts = connection.hosts(load(os.environ.get("PPMCTL_ENV", "lab")))
