"""The lab: throwaway servers in containers on this machine, to rehearse on.

A lab host has systemd, sshd and later its own Docker engine; it is provisioned and deployed to as any server.
"""

from ppmkit.lab.hosts import down, ssh, status, up
from ppmkit.lab.login import ssh_command
from ppmkit.lab.model import Lab, LabHost, inventory

__all__ = ["Lab", "LabHost", "down", "inventory", "ssh", "ssh_command", "status", "up"]
