"""What somebody gives as a backup: an id, never an option or a path."""

from __future__ import annotations

import pytest

from ppmkit.actions import backup, drill
from ppmkit.backup.client import refuse_invalid_ids
from ppmkit.errors import UsageError
from tests.unit.conftest import environment_of


@pytest.mark.parametrize("id", ["--help", "-x", "", "a/b", "../x", "a b", "a\n", "x" * 101])
def test_what_is_no_id_is_refused_before_a_host_is_asked(id: str) -> None:
    environment = environment_of()
    host = environment.hosts[0]

    with pytest.raises(UsageError, match="not a valid backup id"):
        backup.show(environment, host, id)
    with pytest.raises(UsageError, match="not a valid backup id"):
        backup.verify(environment, host, [id])
    with pytest.raises(UsageError, match="not a valid backup id"):
        drill.drill(environment, host, [id])


def test_ids_and_latest_are_taken() -> None:
    refuse_invalid_ids(["latest", "20260301T140509123-1a2b", "20260301-140509-1a2b"], "test")
