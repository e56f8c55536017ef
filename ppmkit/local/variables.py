"""Which variables of the shell a docker command on this machine gets. Pure."""

from __future__ import annotations

from collections.abc import Collection

_OF_BUILDS = frozenset({"BUILDX_BUILDER", "DOCKER_DEFAULT_PLATFORM"})
"""They choose another builder and another processor, for projects of another kind."""
_OF_COMPOSE = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    }
)
_PREFIXES_OF_COMPOSE = ("DOCKER_", "LC_", "XDG_")
"""With those above: how docker finds its plugins, its engine and a way there."""


def hidden(names: Collection[str], *, compose: bool) -> list[str]:
    """Given the names of the shell's variables, return those that the command does not get.

    Compose gets what it needs to run and no more, or a variable of the shell would choose what it does (COMPOSE_…) or
    stand in a container.
    """
    others = [name for name in names if not (name in _OF_COMPOSE or name.startswith(_PREFIXES_OF_COMPOSE))]
    return sorted(_OF_BUILDS.intersection(names).union(others if compose else ()))
