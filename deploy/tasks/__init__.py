"""pyinfra deploys that prepare a host for deployments of ppm.

One file per topic; ``provision.py`` runs them in order. They run from ``ppmctl provision`` (``__main__.py``) and
from pyinfra's own command line: ``pyinfra deploy/inventory/inventory.py deploy/tasks/provision.py``.

All hosts of an environment get the same list of operations, because pyinfra identifies operations by their position in
that list. An operation that a host does not need does nothing.
"""
