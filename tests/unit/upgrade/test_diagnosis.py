"""The likely cause of a failed start."""

from __future__ import annotations

import pytest

from ppmkit.upgrade.diagnosis import likely_cause


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ("api-1: exited, killed for its memory limit (…)\n    ModuleNotFoundError: no", "services.*.memory"),
        ("ModuleNotFoundError: No module named 'moon'", "lock file"),
        ("sqlite3.OperationalError: no such column: moon", "no migration creates"),
        ("OSError: [Errno 30] Read-only file system: '/srv/x'", "only /data and /tmp"),
        ("ppm: the session secret is missing or shorter than 32 characters", "ppmctl secrets check"),
    ],
)
def test_the_last_words_of_a_container_name_the_likely_cause(seen: str, words: str) -> None:
    assert words in str(likely_cause(seen))


def test_what_could_be_anything_has_no_likely_cause() -> None:
    assert likely_cause("GET /readyz: status 502, X-PPM-Release: None, body: Bad Gateway") is None
