"""A container gets each value as the environment's file has it, and nothing of the shell that started it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from python_on_whales import DockerClient

from ppmkit.config.environment import Environment
from ppmkit.config.environment import Images as Wanted
from ppmkit.images.bases import ensure_bases
from ppmkit.local.engine import client
from ppmkit.orchestrator import oneoff
from ppmkit.release import render
from ppmkit.release.model import Images, Release
from tests.conftest import BASE
from tests.unit.conftest import environment_of
from tests.unit.release.test_values import HOSTILE

HOSTILE_TEXT = " ".join(text for text in HOSTILE if "\0" not in text)
PRINTS = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture
def environment() -> Environment:
    app = {
        "cors_origin": HOSTILE_TEXT,
        "oauth_client_id": "${LEAKED} $LEAKED $$LEAKED",
        "oauth_logins": {HOSTILE_TEXT: "admin", "$LEAKED": "read"},
        "oauth_base_url": "'\n",
    }
    return environment_of(name=f"values{BASE}", app=app)


@pytest.fixture
def compose(
    docker: DockerClient, environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DockerClient]:
    """The stack of a host, on this machine, of which only the worker is started: it needs no folder of a host."""
    monkeypatch.setenv("LEAKED", "of the shell")
    monkeypatch.setenv("COMPOSE_FILE", "nowhere.yaml")
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    (tmp_path / ".env").write_text("LEAKED=of a file\n")
    monkeypatch.chdir(tmp_path)
    image = docker.image.inspect(ensure_bases(Wanted(bases="local"), docker, print)["python"]).id
    release = Release(id="release", images=Images(**dict.fromkeys(Images.model_fields, image)), secrets={"dns_x": "0"})
    text = render.compose(environment, release).replace('secrets: ["dns_x"]', "secrets: []")
    file = tmp_path / "stack" / "compose.yaml"
    file.parent.mkdir()
    file.write_text(text)
    compose = client(compose_files=[file], compose_project_name=environment.project, compose_profiles=["blue"])
    yield compose
    compose.compose.down(volumes=True, quiet=True)


def test_a_container_gets_each_value_as_it_is(compose: DockerClient, environment: Environment) -> None:
    host: Any = SimpleNamespace(name="this machine")
    found = oneoff.ask(host, compose, "worker-blue", ("python3", "-c", PRINTS), timeout=120)

    app = environment.app
    assert found["CORS_ORIGIN"] == app.cors_origin
    assert found["OAUTH_CLIENT_ID"] == app.oauth_client_id
    assert json.loads(found["OAUTH_LOGINS"]) == app.oauth_logins
    assert found["OAUTH_BASE_URL"] == app.oauth_base_url
    assert "of the shell" not in json.dumps(found)
