"""Benchmarks: each prints the table that docs/benchmarks.md shows, with the command that makes it."""

POLITE = (
    *("setsid", "--wait", "sh", "-c"),
    '{ echo 19 > /proc/self/autogroup; } 2> /dev/null; exec chrt --idle 0 "$@"',
    "sh",
)
"""Whoever deploys is, as a rule, on another machine than the host: here it must not take the host's processor. Linux
shares that out among sessions first (sched(7), autogroup), and within one only by what chrt says."""
