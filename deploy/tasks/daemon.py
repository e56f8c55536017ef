"""Apply Docker's daemon.json without stopping a container."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.facts.files import FileContents

from deploy.tasks.command import Script
from ppmkit.provision.daemon_json import PATH, change

# The file is validated before it is installed (not possible with engines older than 23), and the old one is restored if
# the daemon does not start with it. Every restart is preceded by a reload: the daemon must know before it stops that
# containers keep running.
_APPLY = f"""
set -e
umask 022
mkdir -p /etc/docker
cd /etc/docker
trap 'rm -f .daemon.json.new .daemon.json.before' EXIT
cat > .daemon.json.new
if dockerd --help | grep -q -e --validate; then dockerd --validate --config-file=.daemon.json.new >&2; fi
cp -p {PATH} .daemon.json.before 2>/dev/null || true
live() {{ docker info -f '{{{{.LiveRestoreEnabled}}}}' 2>/dev/null | grep -qx true; }}
apply() {{
    if systemctl is-active -q docker; then
        systemctl reload docker
        for try in $(seq 100); do live && break; sleep 0.1; done
        if test "$how" = reload; then live; return; fi
    fi
    systemctl reset-failed docker.service || true
    systemctl restart docker && live
}}
sync .daemon.json.new
mv -f .daemon.json.new {PATH}
sync .
if apply; then exit 0; fi
journalctl -u docker -n 10 --no-pager -o cat >&2 || true
if test -e .daemon.json.before; then mv -f .daemon.json.before {PATH}; else rm -f {PATH}; fi
systemctl reset-failed docker.service || true
systemctl restart docker || true
echo "Docker did not start with the new {PATH}; the previous one is restored" >&2
exit 1
"""


@operation()
def settings() -> Generator[StringCommand, None, None]:
    """Write the required daemon.json and make the daemon use it; containers keep running."""
    lines = host.get_fact(FileContents, path=PATH)
    try:
        needed = change(None if lines is None else "\n".join(lines))
    except ValueError as error:
        raise OperationError(
            f"{PATH} cannot be read: {error}. Fix it by hand: Docker would not start with it"
        ) from error
    if needed is None:
        return
    how = "restart" if needed.restart else "reload"
    yield Script(
        f"how={how}\n{_APPLY}",
        summary=f"write {PATH} and {how} Docker: {'; '.join(needed.differences)}",
        stdin=needed.content,
    )
