"""What a release is made of: judged by the validator of CycloneDX's own library."""

from __future__ import annotations

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ppmkit.cli import show
from ppmkit.images import sbom
from ppmkit.images.sbom import Package
from ppmkit.paths import PROJECT
from ppmkit.release.model import Images
from tests.unit.upgrade.test_rollback import record

CURL = Package(kind="deb", name="curl", version="8.14.1-2+deb13u1")


def test_a_release_lists_every_package_of_every_image_in_valid_cyclonedx(images: Images) -> None:
    held = {name: (CURL, Package(kind="pypi", name="httpx", version="0.28.1")) for name in images.by_name()}

    text = sbom.document("0a1b2c3d4e5f", images.by_name(), held)

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = json.loads(text)
    assert found["metadata"]["component"]["version"] == "0a1b2c3d4e5f"
    purls = [component["purl"] for component in found["components"] if "purl" in component]
    assert purls.count("pkg:deb/debian/curl@8.14.1-2%2Bdeb13u1") == len(held)
    dependencies = {entry["ref"]: entry.get("dependsOn", []) for entry in found["dependencies"]}
    assert set(dependencies["0a1b2c3d4e5f"]) == set(held)
    assert dependencies["api"] == [f"api/deb/curl@{CURL.version}", "api/pypi/httpx@0.28.1"]


def test_a_release_says_how_much_it_is_made_of_or_that_nobody_has_listed_it(images: Images) -> None:
    held = {name: (CURL, Package(kind="pypi", name="httpx", version="0.28.1")) for name in images.by_name()}
    done = record("0a1b2c3d4e5f", "1")

    listed = show.release(done, sbom.document(done.id, images.by_name(), held)).splitlines()
    plain = show.release(done, None).splitlines()

    assert listed[-2].endswith(": 2 packages")
    assert listed[-1] == f"SBOM: {3 * len(held)} components, CycloneDX (--sbom prints it)"
    assert plain[-1].startswith("no SBOM: ")
    assert "(--sbom asks its images on the host)" in plain[-1]


def test_of_the_pages_packages_those_that_reach_users_are_listed() -> None:
    names = {package.name for package in sbom.page(json.loads((PROJECT / "app/ui/package-lock.json").read_text()))}

    assert {"react", "react-dom"} <= names
    assert not {"vite", "vitest", "typescript"} & names
