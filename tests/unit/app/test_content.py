"""Languages, licenses, manifests: from names and texts alone."""

from __future__ import annotations

import pytest

from app.worker.content import File, Reading, license_of

GPL_3 = "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007 … use the GNU Lesser General Public License instead"
MPL = "Mozilla Public License Version 2.0\n… Secondary License means the GNU General Public License, Version 2.0"
BSD = "Redistribution and use in source and binary forms, with or without modification, are permitted"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("                Apache License\n          Version 2.0, January 2004", "Apache-2.0"),
        (GPL_3, "GPL-3.0"),
        (MPL, "MPL-2.0"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3, 19 November 2007", "AGPL-3.0"),
        ("Permission is hereby granted, free of charge,\nto any person obtaining a copy", "MIT"),
        (f"{BSD} …\nused to endorse or promote products derived\nfrom this software", "BSD-3-Clause"),
        (BSD, "BSD-2-Clause"),
        ("All rights reserved.", None),
        ("", None),
    ],
)
def test_a_licence_is_known_by_its_words(text: str, name: str | None) -> None:
    assert license_of(text) == name


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a.py", "Python"),
        ("A.PY", "Python"),
        ("src/x.tsx", "TypeScript"),
        ("README", None),
        ("py", None),
        (".py", None),
    ],
)
def test_a_language_is_known_by_the_name_of_the_file(path: str, language: str | None) -> None:
    assert File(path, "1").language == language


def test_of_many_manifests_those_at_the_top_are_kept() -> None:
    paths = [f"sub/{number:03}/package.json" for number in range(60)] + ["go.mod"]

    found = Reading(File(path, "1") for path in paths).result().manifests

    assert (len(found), found[0]) == (50, "go.mod")


def test_the_same_content_counts_for_each_of_its_files() -> None:
    reading = Reading([File("a.py", "1"), File("b.py", "1"), File("c.txt", "1")])

    reading.measure("1", 10)
    reading.read("1", b"TODO todo TODOS")

    result = reading.result()
    assert (result.files, result.size_bytes, result.todos) == (3, 20, 2)
