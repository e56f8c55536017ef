"""The suite in parts."""

from __future__ import annotations

import argparse
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shards import SECONDS, Shard, share

FOLDERS = st.sampled_from(sorted(SECONDS))
FILES = st.dictionaries(
    st.builds(lambda folder, name: f"tests/{folder}/test_{name}.py", FOLDERS, st.integers(0, 50)),
    st.integers(1, 200),
    min_size=1,
)
SUITE = {
    "tests/lab/test_matrix.py": 178,
    "tests/lab/test_faults.py": 22,
    "tests/lab/test_plan.py": 20,
    "tests/lab/test_deploy.py": 14,
    "tests/integration/test_edge.py": 19,
    "tests/unit/test_docs.py": 57,
    "tests/unit/app/test_projects.py": 44,
}


def named(counts: dict[str, int]) -> dict[str, list[str]]:
    return {file: [f"{file}::test_{number}" for number in range(count)] for file, count in counts.items()}


def seconds(names: list[str]) -> float:
    return sum(SECONDS[name.split("/")[1]] for name in names)


@given(FILES, st.integers(1, 8))
def test_every_test_is_in_one_shard_whatever_order_they_come_in(counts: dict[str, int], of: int) -> None:
    tests = named(counts)

    shares = [share(tests, Shard(number, of)) for number in range(1, of + 1)]

    assert sorted(chain(*shares)) == sorted(chain(*tests.values()))
    again = dict(reversed(tests.items()))
    assert shares == [share(again, Shard(number, of)) for number in range(1, of + 1)]


def test_a_file_stays_whole_unless_it_is_more_than_one_shard_should_have() -> None:
    tests = named(SUITE)
    shares = [share(tests, Shard(number, 4)) for number in range(1, 5)]

    having = {file: sum(any(name in names for name in tests[file]) for names in shares) for file in tests}
    assert having.pop("tests/lab/test_matrix.py") > 1
    assert set(having.values()) == {1}


def test_shards_take_about_the_same_time() -> None:
    times = [seconds(share(named(SUITE), Shard(number, 4))) for number in range(1, 5)]

    assert max(times) < 1.2 * sum(times) / 4


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "a/b", "-1/4", "1/4/2", "1.0/4", "01/4", "²/4"])
def test_what_is_no_shard_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"write SHARD=i/n, as in SHARD=2/4"):
        Shard.parse(text)


def test_a_shard_is_read_as_it_is_written() -> None:
    assert Shard.parse("2/4") == Shard(2, 4)
