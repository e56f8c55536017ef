"""Swap file for a host without swap: unused pages are moved out before the kernel kills a process."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host

from deploy.tasks.base import Machine
from deploy.tasks.command import Script

FILE = "/swap.ppm"
FSTAB = "/etc/fstab"
LEFT = 2 << 30
"""Bytes that must remain free: as much as doctor requires on the disk."""

# Variables: $file, $bytes, $fstab. A failure leaves nothing behind. A sparse file cannot be swap, so zeros are written
# if the file system cannot allocate.
MAKE = f"""
set -e
add() {{ grep -q "^$file " "$fstab" || {{ echo "$file none swap sw 0 0" >> "$fstab"; sync "$fstab"; }}; }}
if swapon --show=NAME --noheadings | grep -qxF "$file"; then add; exit 0; fi
rm -f "$file"
free=$(df -PB1 "$(dirname "$file")" | awk 'NR == 2 {{print $4}}')
if test "$free" -lt $((bytes + {LEFT})); then
    echo "$(dirname "$file") has $free bytes free: too few for swap; provision.swap: 0B disables swap" >&2
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
    """Whether the host has swap that a boot enables again."""

    default = bool

    def command(self) -> str:
        """Return the command that prints a word if so. Swap that we did not create always counts."""
        return (
            "swapon --show=NAME --noheadings | while read -r name; do "
            f'test "$name" != {FILE} || grep -q "^{FILE} " {FSTAB} && echo swapping; done; true'
        )

    def process(self, output: list[str]) -> bool:
        """Given the output, return whether the word was printed."""
        return "swapping" in output


@operation()
def swap(size: int) -> Generator[StringCommand, None, None]:
    """Create a swap file of ``size`` bytes, unless there is any swap or the host is a container."""
    if host.get_fact(Machine)["container"]:
        host.noop("this is a container, which uses its machine's swap")
        return
    if not host.get_fact(Swapping):
        script = f"file={FILE} bytes={size} fstab={FSTAB}\n{MAKE}"
        yield Script(
            script, summary=f"create the swap file {FILE} of {size >> 20:,} MiB, enable it, and add it to {FSTAB}"
        )
