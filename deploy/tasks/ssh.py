"""Create the deploy user. The keys of the provisioning user may log in as it."""

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

from deploy.tasks.command import Script
from deploy.tasks.connection import current_environment

SHELL = "/bin/bash"
_BEGIN = "# ppmctl provision: the keys of"
_END = "# ppmctl provision: end"
# Runs as that user, so that its links and file owners cannot affect other users. The file is replaced atomically.
_WRITE = """
cd "$1" && umask 077 && mkdir -p .ssh && chmod 700 .ssh || exit 1
new=$(mktemp .ssh/.new.XXXXXX) || exit 1
trap 'rm -f "$new"' EXIT
cat > "$new" && sync "$new" && mv -f "$new" .ssh/authorized_keys && sync .ssh
"""


class User(NamedTuple):
    """A user account on the host."""

    home: str
    shell: str
    groups: tuple[str, ...]
    """Group names, the primary one first."""
    housed: bool
    """Whether the home directory exists."""


class Account(FactBase[User | None]):
    """One user, or None. pyinfra's own fact queries all users, with three hundred processes."""

    def command(self, user: str) -> StringCommand:
        """Return the command that prints the user's passwd(5) line, groups and "housed"; nothing without a user."""
        return StringCommand(
            "entry=$(getent passwd",
            QuoteString(user),
            ') || exit 0; echo "$entry"; id -Gn',
            QuoteString(user),
            '; home=${entry%:*}; if test -d "${home##*:}"; then echo housed; fi',
        )

    def process(self, output: list[str]) -> User | None:
        """Given the output, return the user."""
        if not output:
            return None
        *_, home, shell = output[0].split(":")
        return User(home, shell, tuple(output[1].split()), "housed" in output[2:])

    @staticmethod
    def default() -> None:
        """Return None: there is no such user."""


def with_keys(lines: Sequence[str], source: str, keys: Sequence[str]) -> list[str]:
    """Given the lines of an authorized_keys, return them with the keys of ``source`` in a block at the end.

    The block mirrors the source: a key that is removed there is removed here too. Lines outside the block are kept.
    """
    kept, inside = [], False
    for line in lines:
        inside = inside or line.startswith(_BEGIN)
        if not inside:
            kept.append(line)
        inside = inside and line != _END
    return [*kept, f"{_BEGIN} {source}", *keys, _END]


def changed_keys(before: Sequence[str], after: Sequence[str]) -> str:
    """Given the lines before and after, return the added and removed keys by comment: "+ me@laptop, - you"."""

    def shown(sign: str, lines: Sequence[str], others: Sequence[str]) -> list[str]:
        keys = [line for line in lines if line and not line.startswith("#") and line not in others]
        return [f"{sign} {' '.join(line.split()[2:]) or line.split()[0]}" for line in keys]

    return ", ".join(shown("+", after, before) + shown("-", before, after)) or "the same keys"


@operation()
def authorized_keys(user: str, source: str) -> Generator[StringCommand, None, None]:
    """Allow the keys of ``source`` to log in as ``user``. Raises OperationError if neither user has a key."""
    keys = host.get_fact(AuthorizedKeys, user=source)
    account = host.get_fact(Account, user=user)
    home = account.home if account else f"/home/{user}"
    before = host.get_fact(FileContents, path=f"{home}/.ssh/authorized_keys") or []
    if not keys and not before:
        raise OperationError(
            f"~{source}/.ssh/authorized_keys contains no key to copy to {user}; add one there, or to "
            f"{home}/.ssh/authorized_keys"
        )
    after = with_keys(before, source, keys)
    if after != before:
        yield Script(
            StringCommand("runuser -u", user, "-- sh -c", QuoteString(_WRITE), "sh", QuoteString(home)),
            summary=f"write {home}/.ssh/authorized_keys: {changed_keys(before, after)}",
            stdin="\n".join(after),
        )


@deploy("SSH")
def ssh() -> None:
    """Create the deploy user with the keys of the provisioning user. Do nothing if both are the same user."""
    login = current_environment().ssh
    if login.user == login.provision_user:
        return
    account = host.get_fact(Account, user=login.user)
    if account is None or account.shell != SHELL or not account.housed:
        server.user(
            name=f"User {login.user}",
            user=login.user,
            shell=SHELL,
            # `*` means no password, without the lock that some sshd versions reject. An existing user keeps its own.
            password=None if account else "*",
            group=account.groups[0] if account else None,
        )
    authorized_keys(name=f"Keys of {login.user}", user=login.user, source=login.provision_user)
