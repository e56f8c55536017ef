"""The user that deploys: whoever may provision may log in as it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import OperationError
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.facts.files import FileContents
from pyinfra.facts.server import AuthorizedKeys
from pyinfra.operations import server

from deploy.tasks.command import Said
from deploy.tasks.connection import wanted

SHELL = "/bin/bash"
_BEGIN = "# ppmctl provision: the keys of"
_END = "# ppmctl provision: end"
# As that user, so that what it owns and where its links lead are its own affair; the file is replaced as a whole.
_WRITE = """
cd "$1" && umask 077 && mkdir -p .ssh && chmod 700 .ssh || exit 1
new=$(mktemp .ssh/.new.XXXXXX) || exit 1
trap 'rm -f "$new"' EXIT
cat > "$new" && sync "$new" && mv -f "$new" .ssh/authorized_keys && sync .ssh
"""


class User(NamedTuple):
    """A user, as the host knows it."""

    home: str
    shell: str
    groups: tuple[str, ...]
    """Their names, the primary one first."""
    housed: bool
    """The home directory is there."""


class Account(FactBase[User | None]):
    """One user, or None. pyinfra's own fact asks about every user that there is, by three hundred processes."""

    def command(self, user: str) -> StringCommand:
        """Return the command that prints the user's line of passwd(5), its groups, and "housed"; of none, nothing."""
        return StringCommand(
            "entry=$(getent passwd",
            QuoteString(user),
            ') || exit 0; echo "$entry"; id -Gn',
            QuoteString(user),
            '; home=${entry%:*}; if test -d "${home##*:}"; then echo housed; fi',
        )

    def process(self, output: list[str]) -> User | None:
        """Given what the command printed, return the user."""
        if not output:
            return None
        *_, home, shell = output[0].split(":")
        return User(home, shell, tuple(output[1].split()), "housed" in output[2:])

    @staticmethod
    def default() -> None:
        """Return what is known when nothing is: there is no such user."""


def with_keys(lines: Sequence[str], source: str, keys: Sequence[str]) -> list[str]:
    """Given the lines of an authorized_keys, return them with the keys of ``source`` in a block at the end.

    The block follows the source: a key that is taken away there goes here too. Lines outside it are kept.
    """
    kept, inside = [], False
    for line in lines:
        inside = inside or line.startswith(_BEGIN)
        if not inside:
            kept.append(line)
        inside = inside and line != _END
    return [*kept, f"{_BEGIN} {source}", *keys, _END]


def changed_keys(before: Sequence[str], after: Sequence[str]) -> str:
    """Given the lines before and after, return which keys come and go, by their comments: "+ me@laptop, - you"."""

    def shown(sign: str, lines: Sequence[str], others: Sequence[str]) -> list[str]:
        keys = [line for line in lines if line and not line.startswith("#") and line not in others]
        return [f"{sign} {' '.join(line.split()[2:]) or line.split()[0]}" for line in keys]

    return ", ".join(shown("+", after, before) + shown("-", before, after)) or "the same keys"


@operation()
def authorized_keys(user: str, source: str) -> Generator[StringCommand, None, None]:
    """Let those log in as ``user`` who may log in as ``source``. Raises OperationError when nobody could."""
    keys = host.get_fact(AuthorizedKeys, user=source)
    account = host.get_fact(Account, user=user)
    home = account.home if account else f"/home/{user}"
    before = host.get_fact(FileContents, path=f"{home}/.ssh/authorized_keys") or []
    if not keys and not before:
        raise OperationError(
            f"~{source}/.ssh/authorized_keys holds no key that could be given to {user}; put one there, or into "
            f"{home}/.ssh/authorized_keys"
        )
    after = with_keys(before, source, keys)
    if after != before:
        yield Said(
            StringCommand("runuser -u", user, "-- sh -c", QuoteString(_WRITE), "sh", QuoteString(home)),
            says=f"write {home}/.ssh/authorized_keys: {changed_keys(before, after)}",
            stdin="\n".join(after),
        )


@deploy("SSH")
def ssh() -> None:
    """Create the user that deploys, with the keys of the one that provisions. When both are one, leave it alone."""
    login = wanted().ssh
    if login.user == login.provision_user:
        return
    account = host.get_fact(Account, user=login.user)
    if account is None or account.shell != SHELL or not account.housed:
        server.user(
            name=f"User {login.user}",
            user=login.user,
            shell=SHELL,
            # `*` is no password, and not the lock that some sshd refuse; who is there already keeps what it has.
            password=None if account else "*",
            group=account.groups[0] if account else None,
        )
    authorized_keys(name=f"Keys of {login.user}", user=login.user, source=login.provision_user)
