"""Benchmarks: each prints a table that docs/benchmarks.md shows, with the command that prints it."""

_ASIDE = """
{
  echo 19 > /proc/self/autogroup
  for aside in /sys/fs/cgroup/cpu/ppmctl-bench /sys/fs/cgroup/ppmctl-bench; do
    { test -d $aside || mkdir $aside; } && echo 1 > $aside/cpu.idle && echo 0 > $aside/cgroup.procs && break
  done
} 2> /dev/null
exec chrt --idle 0 "$@"
"""
POLITE = ("setsid", "--wait", "sh", "-c", _ASIDE, "sh")
"""The deploying command usually runs on another machine than the host, so here it must yield the CPU to the host at
once. Linux divides CPU time among control groups first, then among sessions (sched(7), autogroup), and applies chrt
only within one of those. Any other process preempts an idle control group; creating one requires root."""
