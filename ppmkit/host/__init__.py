"""One host over one SSH connection."""
