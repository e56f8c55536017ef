"""A site of the tests: an environment on a host of the lab, and ppmctl as a user runs it against that."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from ppmkit.config.environment import Environment
from ppmkit.host.host import Host
from ppmkit.lab import Lab, LabHost, inventory, ssh_command
from ppmkit.paths import KIT
from ppmkit.upgrade.steps import STEPS

ALWAYS = [step.name for step in STEPS if step.name not in ("snapshot", "rehearse", "migrate", "hold", "keep")]
"""The steps that every deploy takes, whatever becomes of the database."""
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Running:
    """A command that runs."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text()

    def await_words(self, words: str) -> None:
        """Wait until it has said these words."""
        self._await(words, lambda: self.said)

    def await_program(self, name: str) -> None:
        """Wait until it runs a program with this name among its arguments."""
        argv = ["ps", "-o", "args=", "-g", str(self.process.pid)]
        self._await(name, lambda: subprocess.run(argv, capture_output=True, text=True, check=False).stdout)

    def _await(self, words: str, look: Callable[[], str]) -> None:
        deadline = time.monotonic() + 180
        while words not in look():
            assert self.process.poll() is None, f"it ended before {words!r}:\n{self.said}"
            assert time.monotonic() < deadline, f"no {words!r}:\n{self.said}"
            time.sleep(0.01)

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(120)


def _hearing_ctrl_c() -> None:
    """Undo what a shell does to the programs that it starts in the background: they hear no Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Site:
    """One environment. Each call of :meth:`configure` rewrites its YAML, as an editor would."""

    name: str
    lab: Lab
    number: int
    folder: Path
    replicas: int = 1
    """Of the api."""

    def __post_init__(self) -> None:
        self.configure()

    @property
    def host(self) -> LabHost:
        """The host that the site is on."""
        return self.lab.hosts[self.number - 1]

    @property
    def url(self) -> str:
        """Where users reach it."""
        return f"http://localhost:{self.host.http_port}"

    @property
    def directory(self) -> str:
        """Where it lies on its host."""
        return f"/srv/ppm/{self.name}"

    @property
    def environment(self) -> Environment:
        """The environment as ppmctl reads it."""
        return Environment.model_validate({**self.values, "name": self.name})

    def configure(self, **changes: Any) -> None:
        """Write the YAML: what every test has, and ``changes`` to its sections."""
        there = inventory(self.lab)
        self.values: dict[str, Any] = {
            "kind": "hosts",
            "url": self.url,
            "hosts": [there["hosts"][self.number - 1]],
            "ssh": {key: str(KIT / path) for key, path in there["ssh"].items()},
            "app": {"rate_limit_per_minute": 1_000_000},
            "services": {"api": {"replicas": self.replicas, "memory": "256MiB", "cpus": 1.0}},
            "secrets": {"directory": str(self.folder / "secrets")},
            "upgrade": {"ready_timeout": "60s", "bake": "0s"},
            "provision": {"root_login": True},  # it is how tests look
        }
        for section, values in changes.items():
            if isinstance(values, Mapping):
                self.values[section] = {**self.values.get(section, {}), **values}
            else:
                self.values[section] = values
        with (self.folder / f"{self.name}.yaml").open("w") as out:
            YAML().dump(self.values, out)

    def argv(self, command: str, *argv: str, checkout: Path = KIT) -> list[str]:
        """Return the argv of a ppmctl command against this site."""
        return [sys.executable, str(checkout / "ppmctl.py"), *command.split(), "-e", self.name, *argv]

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that ppmctl is run with."""
        return {**os.environ, "PPMCTL_INVENTORY": str(self.folder)}

    def ppmctl(self, command: str, *argv: str, status: int = 0, checkout: Path = KIT) -> Done:
        """Run ppmctl; what it says is shown when its exit code is not the expected one."""
        done = subprocess.run(
            self.argv(command, *argv, checkout=checkout),
            env=self.variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=480,
        )
        assert done.returncode == status, f"{done.args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    @contextmanager
    def start(self, command: str, *argv: str, checkout: Path = KIT) -> Iterator[Running]:
        """Yield ppmctl as it runs, in a process group of its own, as under a shell; it is waited for at the end."""
        log = self.folder / "running.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                self.argv(command, *argv, checkout=checkout),
                env=self.variables,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_hearing_ctrl_c,
            )
            try:
                yield Running(process, log)
            finally:
                process.wait(120)

    def json(self, command: str, *argv: str, status: int = 0) -> Any:
        """Run ppmctl with --json; return the document."""
        return json.loads(self.ppmctl(command, *argv, "--json", status=status).stdout)

    def told(self) -> Any:
        """Return what the application tells its host alone of itself."""
        url = f"http://127.0.0.1:{self.environment.proxy.internal_port}/statusz"
        return json.loads(self.root(f"curl -fsS -H 'Host: preview' {url}"))

    def root(self, script: str) -> str:
        """Run a script as root on the host, without ppmctl; return what it prints."""
        argv = [*ssh_command(self.lab, self.host), script]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
        assert done.returncode == 0, f"{script}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def connect(self) -> Any:
        """Return a context manager of a connection, as ppmctl's own."""
        return Host.connect(self.environment, self.environment.hosts[0])

    def provision(self) -> None:
        """Bring the host to what deployments need, and make the secrets."""
        self.ppmctl("provision")
        self.ppmctl("secrets init")

    def serving(self) -> str:
        """Return the release that answers users, asked for as they ask: it costs no command."""
        answers = [httpx.get(f"{self.url}{path}", trust_env=False, timeout=30) for path in ("/", "/api/system")]
        assert [answer.status_code for answer in answers] == [200, 200], answers
        page, api = (answer.headers["X-PPM-Release"] for answer in answers)
        assert page == api
        return str(api)

    def misnamed(self) -> list[str]:
        """Return which containers of the api the proxy does not find by the name of their service, or by their own."""
        script = """
        proxy=$(docker ps -q --filter label=com.docker.compose.project=$1 --filter label=ppm.role=reverse-proxy)
        docker ps --filter label=com.docker.compose.project=$1 --filter label=ppm.role=api --format '{{.Names}}' |
        while read -r name; do
            address=$(docker inspect -f '{{(index .NetworkSettings.Networks "'$1'_inner").IPAddress}}' "$name")
            service=$(docker inspect -f '{{index .Config.Labels "com.docker.compose.service"}}' "$name")
            for known in "$name" "$service"; do
                docker exec "$proxy" getent ahostsv4 "$known" | grep -q "^$address " || echo "$known is not $address"
            done
        done
        """
        return self.root(f"set -- ppm-{self.name}\n{script}").splitlines()

    def healthy(self) -> str:
        """Return the release that serves; fail where `status` finds anything wrong."""
        status = self.json("status")
        assert status["healthy"], status["problems"]
        return str(status["hosts"][0]["release"])

    def token(self, name: str) -> str:
        """Return a new API token."""
        return self.ppmctl("exec api", "--", "ppm", "token", "create", name).stdout.strip()

    @cached_property
    def user(self) -> str:
        """An API token, made once."""
        return self.token("user")
