"""Which images of this machine's engine are kept, and which go."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ppmkit.images.built import KEEP_FOR, KEEP_LAST, changes

TODAY = date(2026, 3, 31)


def api(number: int) -> str:
    return f"ppm-build/api:{number:012x}"


def tags(ages: dict[str, int]) -> list[str]:
    """Return the tags of images that were wanted last so many days ago."""
    return [tag for name, age in ages.items() for tag in (name, f"{name}-{TODAY - timedelta(days=age):%Y%m%d}")]


def gone(found: list[str], *wanted: str) -> set[str]:
    return {group[0] for group in changes(found, wanted, TODAY).obsolete}


def test_the_newest_of_each_repository_stay_and_so_does_what_was_wanted_lately() -> None:
    found = tags({api(number): 10 * number for number in range(9)})
    other = tags({api(number).replace("api", "frontend"): 100 + number for number in range(KEEP_LAST + 1)})

    assert gone(found) == {api(number) for number in range(3, 9)}
    assert gone(found + other) == {api(number) for number in range(3, 9)} | {"ppm-build/frontend:000000000003"}
    assert gone(tags({api(number): 14 for number in range(9)})) == set()


def test_what_is_wanted_now_stays_however_old_and_gets_the_day() -> None:
    found = tags({api(number): 100 + number for number in range(9)})

    todo = changes(found, [api(8)], TODAY)

    assert todo.add == {f"{api(8)}-20260331": api(8)}
    assert todo.remove == [f"{api(8)}-20251213"]
    assert {group[0] for group in todo.obsolete} == {api(number) for number in range(2, 8)}


def test_an_image_without_a_day_ages_from_today_on() -> None:
    found = [api(number) for number in range(9)]

    todo = changes(found, [], TODAY)

    assert todo.obsolete == []
    assert todo.add == {f"{name}-20260331": name for name in found}


def test_nothing_is_done_where_all_is_noted() -> None:
    assert changes(tags({api(1): 0, api(2): 3}), [api(1)], TODAY) == ({}, [], [])


def test_tags_that_are_of_another_form_are_left_alone() -> None:
    others = ["ppm-build/api:latest", "ppm-build/api:0123", "ppm-build/api:0123456789ab-x", "ppm-build/api:<none>"]

    assert changes(others, [], TODAY) == ({}, [], [])


@given(st.dictionaries(st.integers(0, 30), st.integers(0, 60), max_size=20), st.sets(st.integers(0, 30)))
def test_an_image_goes_whole_and_only_when_it_is_old_not_wanted_and_not_among_the_newest(
    ages: dict[int, int], wanted: set[int]
) -> None:
    found = tags({api(number): age for number, age in ages.items()})
    todo = changes(found, [api(number) for number in wanted], TODAY)
    removed = {tag for group in todo.obsolete for tag in group}
    kept = [number for number in ages if api(number) not in removed]

    assert removed | set(todo.remove) <= set(found)
    for number in ages.keys() - kept:
        assert number not in wanted
        assert timedelta(days=ages[number]) > KEEP_FOR
        assert {tag for tag in found if tag.startswith(api(number))} <= removed
    assert len(kept) >= min(KEEP_LAST, len(ages))
