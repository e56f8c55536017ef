"""Shell variables that are hidden from docker commands on this machine. Pure."""

from __future__ import annotations

from collections.abc import Collection

_OF_BUILDS = frozenset({"BUILDX_BUILDER", "DOCKER_DEFAULT_PLATFORM"})
"""They select another builder or platform, and are meant for other projects."""
_OF_COMPOSE = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    }
)
_PREFIXES_OF_COMPOSE = ("DOCKER_", "LC_", "XDG_")
"""Together with _OF_COMPOSE, these let docker find its plugins and reach its engine."""


def hidden(names: Collection[str], *, compose: bool) -> list[str]:
    """Given the names of the shell's variables, return those that are hidden from the command.

    Compose gets only what it needs to run. Otherwise a shell variable could change its behavior (COMPOSE_…) or end up
    in a container.
    """
    others = [name for name in names if not (name in _OF_COMPOSE or name.startswith(_PREFIXES_OF_COMPOSE))]
    return sorted(_OF_BUILDS.intersection(names).union(others if compose else ()))
