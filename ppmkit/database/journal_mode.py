"""Check that the database on a host is in WAL mode, by its file's header: bytes 18 and 19 are 2 in WAL mode, else 1
(https://sqlite.org/fileformat2.html, 1.3.3). In the other modes, writers fail while a backup reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ppmkit.errors import PreflightError

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment
    from ppmkit.host.host import Host

_HEADER = """
labels="--filter label=com.docker.compose.project=$1 --filter label=com.docker.compose.oneoff=False"
steward=$(docker ps -q $labels --filter label=ppm.role=steward | head -n 1)
test -n "$steward" && docker exec "$steward" od -An -tu1 -j18 -N2 "$2" 2> /dev/null
"""


def read(host: Host) -> Literal["WAL", "rollback"] | None:
    """Return the mode; None when there is no database yet, no steward runs, or the file is not an SQLite database."""
    argv = ["sh", "-c", _HEADER, "sh", host.environment.project, str(host.environment.database)]
    header = host.run(argv, check=False).stdout.split()
    return "WAL" if header == ["2", "2"] else "rollback" if header == ["1", "1"] else None


def remedy(environment: Environment) -> str:
    """Return the command that puts the database into WAL mode."""
    code = f"import apsw; c = apsw.Connection('{environment.database}'); print(c.pragma('journal_mode', 'wal'))"
    return f'ppmctl exec steward -e {environment.name} -- python -c "{code}"'


def refuse_unless_wal(host: Host) -> None:
    """Raise PreflightError when the database is in another mode."""
    if read(host) == "rollback":
        raise PreflightError(
            f"{host.name}: the database {host.environment.database} is not in WAL mode, so writers would fail while "
            "a backup reads it. Nothing was changed",
            host=host.name,
            next=f"Put it into WAL mode once, while nothing writes to it: {remedy(host.environment)}",
        )
