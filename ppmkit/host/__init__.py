"""Access to one host over one SSH connection."""
