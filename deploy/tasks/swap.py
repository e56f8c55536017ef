"""Swap for a host that has none: what is not used makes room before the kernel ends a process for want of memory."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from deploy.tasks.base import Machine
from deploy.tasks.command import Said

FILE = "/swap.ppm"
FSTAB = "/etc/fstab"
LEFT = 2 << 30
"""Bytes that must be free beside it: as much as doctor wants of the disk."""

# $file, $bytes, $fstab. What does not go live leaves nothing behind. A file with holes cannot be swap, so zeros are
# written where the file system cannot allocate.
MAKE = f"""
set -e
add() {{ grep -q "^$file " "$fstab" || {{ echo "$file none swap sw 0 0" >> "$fstab"; sync "$fstab"; }}; }}
if swapon --show=NAME --noheadings | grep -qxF "$file"; then add; exit 0; fi
rm -f "$file"
free=$(df -PB1 "$(dirname "$file")" | awk 'NR == 2 {{print $4}}')
if test "$free" -lt $((bytes + {LEFT})); then
    echo "$(dirname "$file") has $free bytes free: too few for swap; provision.swap: 0B does without" >&2
    exit 1
fi
umask 077
trap 'rm -f "$file"' EXIT
fallocate -l "$bytes" "$file" 2>/dev/null || head -c "$bytes" /dev/zero > "$file"
mkswap "$file" > /dev/null
swapon "$file"
trap - EXIT
add
"""


class Swapping(FactBase[bool]):
    """Whether the host has swap that a boot brings again."""

    default = bool

    def command(self) -> str:
        """Return the command that prints a word when it is so; swap that is none of ours is its owner's affair."""
        return (
            "swapon --show=NAME --noheadings | while read -r name; do "
            f'test "$name" != {FILE} || grep -q "^{FILE} " {FSTAB} && echo swapping; done; true'
        )

    def process(self, output: list[str]) -> bool:
        """Given what was printed, return whether it is so."""
        return "swapping" in output


@operation()
def swap(size: int) -> Generator[StringCommand, None, None]:
    """Have a swap file of so many bytes, unless there is any swap, or the kernel is not the host's own."""
    if host.get_fact(Machine)["container"]:
        host.noop("this is a container, whose swap is its machine's")
        return
    if not host.get_fact(Swapping):
        script = f"file={FILE} bytes={size} fstab={FSTAB}\n{MAKE}"
        yield Said(script, says=f"make {FILE} of {size >> 20:,} MiB, swap on it, and write it to {FSTAB}")
