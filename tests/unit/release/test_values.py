"""A value is data: whatever characters it has, Compose and Traefik read exactly them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from ppmkit.config.check import notes
from ppmkit.config.environment import Environment
from ppmkit.config.file import load
from ppmkit.errors import ConfigError
from ppmkit.local.scratch import scratch
from ppmkit.plan import inspection
from ppmkit.release import render
from ppmkit.release.model import Images, Release
from tests.support.rendered import release_of
from tests.unit.conftest import ID, environment_of

HOSTILE = (
    *("$HOME", "${X}", "${X:-y}", "$$", "$$$X", "$", "a$b", "$(id)"),
    *('a"b', "a'b", "a\nb", "\n", "a\tb", "`id`", "\\", "\\n", "\\u0041", "a\\"),
    *("{{ x }}", '{{ env "HOME" }}', "{{{", "}}", "{% x %}", "{# x #}", "{", "}", "[", "]", ",", "a, b"),
    *("#", " #x", ": ", "a: b", "a:", "- ", "&a", "*a", "!x", "!!int 1", "%", "%s", "@", "|", ">", "?", "<<", "=", "~"),
    *(" x ", "\u00a0", "ü", "😀", "\u2028", "\ufeff", "\x7f", "\x85", "null", "true", "no", "1e3", "0x1F", "12:30:45"),
)
TOGETHER = (
    " ".join(HOSTILE),
    "".join(text for text in HOSTILE if not re.search(r"[\s@]", text)),  # for what must be one word
    *("$$", "\n", " x ", "~"),
)
"""What Compose is asked about: each start of it takes a while."""
KEY = "ssh-ed25519 AAAA"
FULL: dict[str, Any] = {
    "name": "test",
    "url": "https://ppm.example.org",
    "hosts": [{"name": "test-1", "address": "127.0.0.1"}],
    "ssh": {"identity_file": "id", "known_hosts_file": "known"},
    "app": {
        "scan_known_hosts": [f"git.example.org {KEY}"],
        "cors_origin": "https://c.example.org",
        "oauth_client_id": "id",
        "oauth_logins": {"ada": "admin"},
        "oauth_organizations": {"acme/ops": "read"},
        "otlp_endpoint": "https://otlp.example.org",
    },
    "proxy": {
        "letsencrypt_email": "ops@example.org",
        "ca_server": "https://ca.example.org/directory",
        "dns_challenge": {
            "provider": "azuredns",
            "secrets": {"AZURE_CLIENT_ID": "dns_id"},
            "variables": {"AZURE_TENANT_ID": "tenant"},
        },
        "trusted_proxies": ["192.0.2.0/24"],
    },
    "images": {"source": "registry", "registry": dict.fromkeys(Images.model_fields, f"registry/x@{ID}")},
    "secrets": {
        "provider": "command",
        "directory": "secrets",
        "recipients": [KEY],
        "identity_file": "age",
        "command": ["pass", "{name}"],
    },
    "upgrade": {},
    "backup": {
        "heartbeat": True,
        "recipients": [KEY],
        "identity_file": "age",
        "rate": "1MiB",
        "targets": [{"name": "offsite", "to": "offsite:bucket/ppm"}],
        "continuous": {},
    },
    "provision": {"root_login": False},
}
Location = tuple[int | str, ...]


@cache
def everything() -> dict[str, Any]:
    """Return an environment's values with every key given, one item in each list and mapping."""
    return Environment.model_validate(FULL).model_dump(mode="json")


def leaves(value: Any, where: Location = ()) -> Iterator[tuple[Location, Any]]:
    """Yield what is in a value, with where; of a mapping the keys too, marked by their place behind None."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield (*where, None, key), key  # type: ignore[misc]
            yield from leaves(item, (*where, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*where, number))
    else:
        yield where, value
    if value is None or value in ({}, []):
        yield where, value


def put(values: dict[str, Any], where: Location, text: str) -> None:
    """Put a text into values, as a value or as the key of a mapping."""
    *path, last = where
    of_key = bool(path) and path[-1] is None
    holder: Any = values
    for part in path[:-1] if of_key else path:
        holder = holder[part]
    if of_key:
        holder[text] = holder.pop(last)
    else:
        holder[last] = text


def accepted(values: dict[str, Any]) -> bool:
    try:
        Environment.model_validate(values)
    except ValidationError:
        return False
    return True


def with_texts(texts: Mapping[Location, str]) -> dict[str, Any]:
    values = deepcopy(everything())
    for where, text in sorted(texts.items(), key=lambda item: None in item[0]):  # keys last: they move their values
        put(values, where, text)
    return values


Form = tuple[str, str]
"""What stands before a text and behind it, where the value has a form to keep."""


def forms(value: str) -> Iterator[Form]:
    yield "", ""
    for cut in (len(value), 0, value.find("//") + 2, value.find(".")):
        yield value[:cut], value[cut:]


@cache
def open_places() -> dict[Location, tuple[Form, ...]]:
    """Return {place: forms} of all that take more than a choice of words."""
    values = everything()
    places = {where: value for where, value in leaves(values) if isinstance(value, str) and where != ("name",)}
    taken = {
        where: tuple(form for form in forms(value) if accepted(with_texts({where: "word".join(form)})))
        for where, value in places.items()
    }
    return {where: those for where, those in taken.items() if those}


def chosen(text: str) -> dict[Location, Form]:
    """Return {place: form} of all that take the text."""
    found = {
        where: next((form for form in forms if accepted(with_texts({where: text.join(form)}))), None)
        for where, forms in open_places().items()
    }
    return {where: form for where, form in found.items() if form is not None}


def composed(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what Docker Compose makes of the stack of such an environment, and of the same for development."""
    environment = Environment.model_validate(values)
    images = Images.model_validate(values["images"]["registry"])
    secrets = dict.fromkeys((*environment.proxy_secrets, *environment.backup.secrets, "session_secret"), "0a1b2c3d")
    texts = {
        "stack": render.compose(environment, Release(id="release", images=images, secrets=secrets)),
        "dev": render.dev(environment, images.by_name() | {"node": images.api}, ca=f"/{environment.ssh.identity_file}"),
    }
    found = {}
    for kind, text in texts.items():
        file = folder / f"{kind}.yaml"
        file.write_text(text)
        found[kind] = opened(json.loads(config(file, "--format", "json").replace("$$", "$")))
    return found


def config(file: Path, *options: str) -> str:
    compose = Path(sys.prefix) / "bin" / "docker-compose"
    argv = [compose, "-f", file, "--profile", "*", "config", *options]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "variable is not set" not in done.stderr
    return done.stdout


def opened(value: Any, word: Callable[[str], str] = str) -> Any:
    """Return a document with what is JSON in its texts read, and each text through ``word``."""
    if isinstance(value, Mapping):
        return {word(key): opened(item, word) for key, item in value.items()}
    if isinstance(value, list):
        return [opened(item, word) for item in value]
    if isinstance(value, str) and value.startswith(('{"', '["')):
        return opened(json.loads(value), word)
    return word(value) if isinstance(value, str) else value


@cache
def harmless(places: tuple[tuple[Location, Form], ...]) -> dict[str, Any]:
    """Return what Compose makes of a word of its own in each of the places."""
    texts = {where: f"word{number}x".join(form) for number, (where, form) in enumerate(places)}
    with scratch() as folder:
        return composed(with_texts(texts), folder)


def compare(text: str, folder: Path) -> None:
    """Check that Compose finds the text wherever it finds a harmless word that stands in the same place."""
    places = tuple(chosen(text).items())
    found = composed(with_texts({where: text.join(form) for where, form in places}), folder)

    assert found == opened(harmless(places), lambda said: re.sub(r"word\d+x", lambda _: text, said))


def test_every_key_of_an_environment_takes_part() -> None:
    missing = [where for where, value in leaves(everything()) if value is None or value in ({}, [])]
    assert missing == []
    reached = {where[-1] for where in chosen("$HOME")}
    assert {"cors_origin", "oauth_client_id", "letsencrypt_email", "ca_server", "AZURE_TENANT_ID", "ada"} <= reached


@pytest.mark.parametrize("text", TOGETHER, ids=ascii)
def test_compose_reads_each_value_as_it_is(text: str, tmp_path: Path) -> None:
    compare(text, tmp_path)


def test_what_compose_says_of_a_value_is_what_a_container_has(images: Images) -> None:
    environment = environment_of(app={"cors_origin": TOGETHER[0], "oauth_logins": {TOGETHER[0]: "read"}})
    made = inspection.intended(render.compose(environment, release_of(environment, images)), environment.project)

    told = made["api-blue"].setup.environment or {}
    assert told["CORS_ORIGIN"] == environment.app.cors_origin
    assert json.loads(told["OAUTH_LOGINS"] or "") == environment.app.oauth_logins


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_compose_reads_any_value_as_it_is(text: str, tmp_path: Path) -> None:
    compare(text, tmp_path)


@pytest.mark.parametrize("text", ["{{ env `HOME` }}.example.org", "a`b.example.org", 'a"b\\.example.org'])
def test_the_routes_name_the_domain_as_it_is(text: str) -> None:
    environment = environment_of(url="https://x.example.org", proxy={"certificates": "files"})
    asked = environment.model_copy(update={"url": f"https://{text}"})  # unchecked: no check of `url` is relied on
    servers = {"blue": {"api": ["http://b:8000"], "frontend": ["http://b:8080"]}}
    routes = render.routes(asked, live="blue", preview="blue", servers=servers)  # type: ignore[arg-type]

    assert "{{" not in routes
    rule = YAML(typ="safe").load(routes)["http"]["routers"]["edge"]["rule"]
    literal = rule.removeprefix("Host(").removesuffix(") && PathPrefix(`/`)")
    domain = asked.domain
    assert literal == (f"`{domain}`" if "`" not in domain else json.dumps(domain))


def test_two_dollar_signs_are_pointed_out_where_compose_once_made_one_of_them() -> None:
    app = {"cors_origin": "https://a$$b.example.org", "oauth_logins": {"x$$": "read", "$y": "read"}}
    environment = environment_of(app=app, secrets={"provider": "command", "command": ["sh", "-c", "{name} $$"]})

    found = [note.partition(": ")[0] for note in notes(environment)]

    assert found == ["app.cors_origin", "app.oauth_logins.x$$"]
    assert notes(environment_of()) == ()


def test_a_control_character_is_refused_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PPMCTL_INVENTORY", str(tmp_path))
    file = tmp_path / "test.yaml"
    file.write_text('url: http://x\nkind: dev\napp:\n  cors_origin: "https://x\\0"\n  oauth_logins: {"a\\x07": read}\n')

    with pytest.raises(ConfigError) as raised:
        load("test")

    shown = os.path.relpath(file)
    assert raised.value.message.splitlines() == [
        f"{shown}:4:3: app.cors_origin: a value cannot contain the character '\\x00'",
        f"{shown}:5:18: app.oauth_logins.a?: a value cannot contain the character '\\x07'",
    ]
