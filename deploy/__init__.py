"""What users edit: the inventory, and the pyinfra tasks that prepare hosts. The kit is the package ``ppmkit``."""
