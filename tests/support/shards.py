"""The suite in parts, for several machines: `make test-all SHARD=2/4` runs the second of four.

No plugin does this: pytest-split cuts through files, whose tests share costly fixtures, and needs the times of an
earlier run; pytest-shard goes by the hash of a name, whatever the tests take.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import pytest

SECONDS = {"lab": 20.0, "integration": 1.5, "e2e": 10.0, "unit": 0.5}
"""What a test takes on 2 cores, on average, by its folder below tests/."""


@dataclass(frozen=True)
class Shard:
    """One of the parts."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Given "2/4", return the second of four. Raises ArgumentTypeError."""
        found = re.fullmatch(r"([1-9]\d{0,2})/([1-9]\d{0,2})", text)
        if found is None or int(found[1]) > int(found[2]):
            raise argparse.ArgumentTypeError(
                f"{text!r} is no part of the suite: write SHARD=i/n, as in SHARD=2/4 for the second of four"
            )
        return cls(int(found[1]), int(found[2]))


def choose(items: Sequence[pytest.Item], shard: Shard) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return the tests of a shard, and all others, both in the order that they came in."""
    tests: dict[str, list[str]] = {}
    for item in items:
        tests.setdefault(item.path.relative_to(item.config.rootpath).as_posix(), []).append(item.nodeid)
    ours = set(share(tests, shard))
    return [item for item in items if item.nodeid in ours], [item for item in items if item.nodeid not in ours]


def share(tests: Mapping[str, Sequence[str]], shard: Shard) -> list[str]:
    """Given the tests of each file, return those of a shard; all shards together have each test once.

    A file stays whole, unless it alone takes longer than one shard should. Each shard gets about the same time: what
    takes longest is given away first, always to the shard that has least.
    """
    seconds = {file: _seconds(file) for file in sorted(tests)}
    fair = sum(seconds[file] * len(names) for file, names in tests.items()) / shard.of
    parts: list[tuple[float, Sequence[str]]] = []
    for file, each in seconds.items():
        most = max(1, ceil(len(tests[file]) / ceil(each * len(tests[file]) / fair)))
        for begin in range(0, len(tests[file]), most):
            names = tests[file][begin : begin + most]
            parts.append((each * len(names), names))
    loads = [0.0] * shard.of
    shares: list[list[str]] = [[] for _ in loads]
    for cost, names in sorted(parts, key=lambda part: -part[0]):
        least = loads.index(min(loads))
        loads[least] += cost
        shares[least] += names
    return shares[shard.number - 1]


def _seconds(file: str) -> float:
    return next((each for folder, each in SECONDS.items() if f"/{folder}/" in file), max(SECONDS.values()))
