"""How OpenSSH is called, judged by OpenSSH."""

from __future__ import annotations

import subprocess

import pytest
from pydantic import ValidationError

from ppmkit.host import ssh
from tests.unit.conftest import environment_of


@pytest.mark.parametrize("folder", ["keys", "my keys", "100%h", 'a"b', "a'b", "a\\b", "a=b", "# x", "$HOME"])
def test_openssh_takes_a_path_as_it_is(folder: str) -> None:
    paths = {"identity_file": f"/{folder}/id", "known_hosts_file": f"/{folder}/known hosts"}
    environment = environment_of(ssh=paths)

    argv = ["ssh", "-G", *ssh.options(environment, environment.hosts[0]), "x"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert found["identityfile"].replace("%%", "%") == paths["identity_file"]  # tokens are replaced when it is read
    assert found["userknownhostsfile"].replace("%%", "%") == paths["known_hosts_file"]
    assert (found["batchmode"], found["connecttimeout"]) == ("yes", "10")


def test_a_path_that_openssh_would_complete_from_the_shell_is_refused() -> None:
    with pytest.raises(ValidationError, match="write the path itself"):
        environment_of(ssh={"identity_file": "${HOME}/id"})
