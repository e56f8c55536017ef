"""pyinfra deploys: what a host needs before ppm can be deployed to it.

One file a subject; ``provision.py`` puts them in order. They run from ``ppmctl provision`` (``__main__.py``) and
from pyinfra's own command line: ``pyinfra deploy/inventory/inventory.py deploy/tasks/provision.py``.

Every host of an environment gets the same list of operations, and one that it does not need does nothing: pyinfra
knows operations by their place in that list.
"""
