"""Lab: throwaway servers in containers on this machine, for rehearsals.

A lab host has systemd, sshd and, after provisioning, its own Docker engine. It is provisioned and deployed to like any
server.
"""

from ppmkit.lab.hosts import down, ssh, status, up
from ppmkit.lab.login import ssh_command
from ppmkit.lab.model import Lab, LabHost, inventory

__all__ = ["Lab", "LabHost", "down", "inventory", "ssh", "ssh_command", "status", "up"]
