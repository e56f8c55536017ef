"""Who has the database open, from what the kernel says."""

from __future__ import annotations

from ppmkit.restore.open_files import foreign_processes, lockers

LOCKS = """\
1: POSIX  ADVISORY  READ  4242 fe:00:77 1073741826 1073742335
2: POSIX  ADVISORY  WRITE 99 fe:00:78 128 128
3: FLOCK  ADVISORY  WRITE 17 fe:00:77 0 EOF
3: -> POSIX  ADVISORY  WRITE 18 fe:00:77 0 EOF
4: POSIX  ADVISORY  READ  5151 fe:00:77 128 128
5: OFDLCK ADVISORY  READ  -1 fe:00:77 0 EOF
"""
CONTAINER = "a" * 64


def test_processes_are_found_by_the_file_that_they_have_locked() -> None:
    assert lockers(LOCKS, "fe:00", 77) == {4242, 5151}
    assert lockers(LOCKS, "fe:01", 77) == set()


def test_the_containers_of_the_stack_are_no_strangers_whatever_kind_of_control_groups_there_are() -> None:
    groups = (
        f"1 12:pids:/docker/{CONTAINER} 11:memory:/docker/{CONTAINER}\n"
        f"2 0::/system.slice/docker-{CONTAINER}.scope\n"
        "3 0::/user.slice/user-0.slice/session-1.scope\n"
        f"4 0::/system.slice/docker-{'b' * 64}.scope\n"
        "5 \n"
    )

    assert foreign_processes(groups, {CONTAINER}) == [3, 4]
