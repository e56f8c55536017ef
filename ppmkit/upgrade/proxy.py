"""The step `proxy` of an upgrade: the release's proxy runs, with its settings and routes. And its undo.

Going back leads to what ran and to the files that lay there when the step began. So neither today's YAML nor the
version of ppmctl matters for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ppmkit.errors import OperationError
from ppmkit.host import proxy_settings
from ppmkit.operation.transaction import NEW
from ppmkit.plan import inspection
from ppmkit.proxy import certificates, probe, routes
from ppmkit.proxy import traefik as proxy
from ppmkit.release import render
from ppmkit.release.model import Color
from ppmkit.upgrade import swap
from ppmkit.upgrade.swap import FILES, ROLE, ROUTES, Look, Swap, traefik

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment
    from ppmkit.operation.transaction import Upgrade

Files = Mapping[str, str]
"""{path: content} of swap.FILES."""
_POLICY = "unless-stopped"


def start(upgrade: Upgrade) -> str:
    """Start the release's proxy, replace the one that runs, or leave that alone; return in words what was done.

    Users are served as before then. Raises OperationError when they would not be: the proxy of before serves again.
    """
    host, settings = upgrade.host, upgrade.environment
    if upgrade.resumed:
        settings = proxy_settings.of_release(settings, host.read, upgrade.release.id)
    certificates.prepare(host, settings, upgrade.release.images.steward)
    if upgrade.resumed:
        _settle(upgrade)
        upgrade.look_again()
    stack = upgrade.stack
    found = stack.active(ROLE) or stack.of(ROLE)
    fits = bool(found) and found[0].setup.config_hash == _wanted_hash(upgrade)
    if fits and found[0].running and upgrade.was_done("proxy"):
        return "is there"
    files, there = _files(upgrade, settings), _read(upgrade, traefik(host))
    if fits and found[0].running and files == there:
        return "unchanged"
    _remember(upgrade)
    return _replace(upgrade, files) if found and not fits else _adapt(upgrade, files, there)


def take_back(upgrade: Upgrade) -> None:
    """Bring back the proxy of before, with its settings and routes, and see that it serves users as it did.

    Where the release of before does not run any more, they stay where they are.
    """
    host, live, remembered = upgrade.host, upgrade.intent.live, _folder(upgrade, "before")
    forward, back = _settle(upgrade)
    stack = upgrade.look_again()
    if live is None or not stack.running("api", live) or not swap.exists(host, remembered):
        clean(upgrade)
        return
    look = _served(upgrade, live, host.read(remembered / ROUTES) or "")
    if forward != "done":
        if not stack.active(ROLE) and forward:  # neither could be started then
            host.docker.container.start(swap.planned(host, _folder(upgrade, "forward"))["old"])
        _write(upgrade, _read(upgrade, remembered))
    elif back != "done":
        _swap_back(upgrade, look)
    _see(upgrade, "the proxy of before does not serve users as it did", look)
    clean(upgrade)


def replaced(upgrade: Upgrade) -> bool:
    """Return whether the operation has replaced the proxy, and not taken that back."""
    host = upgrade.host
    forward, back = (swap.outcome(host, _folder(upgrade, part)) for part in ("forward", "back"))
    return forward == "done" and back != "done"


def clean(upgrade: Upgrade) -> None:
    """Remove what the step has left for its undo: files, and the container of the proxy of before."""
    folder = _folder(upgrade)
    if swap.exists(upgrade.host, folder):
        swap.remove_resting(upgrade)
        swap.remove_aside(upgrade.host)
        upgrade.host.run(["rm", "-rf", str(folder)])


def _adapt(upgrade: Upgrade, files: Files, there: Files) -> str:
    """Give the proxy that runs other files, or start it with them."""
    live, runs = upgrade.stack.live, upgrade.stack.running(ROLE)
    _write(upgrade, files)
    if not runs:
        upgrade.compose.compose.up([ROLE], detach=True, dependencies=False, no_build=True, quiet=True)
        upgrade.look_again()
    other = any(files.get(path) != there.get(path) for path in FILES if path != proxy_settings.FILE)
    if live is not None and (other or not runs):
        try:
            _see(upgrade, "the proxy does not serve users with its new settings", _served(upgrade, live, files[ROUTES]))
        except OperationError:
            _write(upgrade, there)
            raise
    return "started" if not runs else "has other routes" if other else "unchanged"


def _replace(upgrade: Upgrade, files: Files) -> str:
    """Put the release's proxy in the place of the one that runs."""
    host, live = upgrade.host, upgrade.stack.live
    swap.remove_resting(upgrade)
    host.run(["rm", "-rf", *(str(_folder(upgrade, part)) for part in ("forward", "back"))])
    old = (upgrade.stack.active(ROLE) or upgrade.stack.of(ROLE))[0]
    new = swap.create(upgrade, upgrade.compose)
    policies = (old.setup.restart or _POLICY, new.setup.restart or _POLICY)
    plan = Swap(_folder(upgrade, "forward"), old, new, policies, "back")
    for path, text in files.items():
        host.write(plan.folder / "after" / path, text)
    swap.prepare(upgrade, plan)
    last = swap.run(upgrade, plan, _served(upgrade, live, files[ROUTES]))
    outcome = swap.outcome(host, plan.folder) or ""
    if outcome == "done":
        return "replaced by one with other settings"
    why, said = outcome.removeprefix("undone: "), proxy.words(host, plan.new.id)
    raise OperationError(
        f"{host.name}: the new proxy did not serve users: {why}",
        host=host.name,
        seen="\n".join(part for part in (last, *said) if part),
        next=f"Correct what the proxy does not take, then: ppmctl deploy -e {upgrade.environment.name}",
    )


def _swap_back(upgrade: Upgrade, look: Look) -> None:
    host, folder = upgrade.host, _folder(upgrade, "back")
    was = swap.planned(host, _folder(upgrade, "forward"))
    host.run(["rm", "-rf", str(folder)])
    by_id = {c.id: c for c in upgrade.stack.of(ROLE)}
    before = by_id.get(was["old"]) or swap.create(upgrade, upgrade.old_compose)  # somebody has removed it
    # Not those that they have now: a proxy that has given way is not to come back by itself.
    policies = (was["new_policy"], was["old_policy"])
    plan = Swap(folder, by_id.get(was["new"], upgrade.stack.of(ROLE)[0]), before, policies, "keep")
    swap.copy(host, _folder(upgrade, "before"), folder / "after")
    swap.prepare(upgrade, plan)
    swap.run(upgrade, plan, look)
    outcome = swap.outcome(host, folder) or ""
    if outcome != "done":
        raise OperationError(
            f"{host.name}: the proxy of before could not be started ({outcome.removeprefix('undone: ')})",
            host=host.name,
            seen=host.read(folder / "log"),
            next=f"ppmctl abort -e {upgrade.environment.name}",
        )


def _settle(upgrade: Upgrade) -> tuple[str | None, str | None]:
    """Let replacements end that were cut short, there and back; return how each ended."""
    host = upgrade.host
    forward = swap.settle(host, _folder(upgrade, "forward"), "back")
    return forward, swap.settle(host, _folder(upgrade, "back"), "keep")


def _remember(upgrade: Upgrade) -> None:
    """Keep what the proxy reads now, and by what users are served: undoing leads back to that."""
    host, stack, folder = upgrade.host, upgrade.stack, _folder(upgrade, "before")
    if swap.exists(host, folder):
        return
    live = stack.live
    release = stack.release(live) if live else None
    served = [path for path in proxy.USED if release and probe.answer(host.public, path, release) is None]
    host.write(_folder(upgrade, "served"), "".join(f"{path}\n" for path in served))
    if live and not routes.servers(host.read(traefik(host) / ROUTES) or "", live)["api"]:  # somebody spoilt them
        proxy.route(host, stack, live=live, preview=None, logged=False)
    swap.copy(host, traefik(host), folder)


def _served(upgrade: Upgrade, live: Color | None, text: str) -> Look:
    """Return a look whether the live colour serves users through these routes, as it did when the step began."""
    host = upgrade.host
    if live is None:
        return lambda: probe.silent(host)
    paths: Collection[str] = (host.read(_folder(upgrade, "served")) or "").split()
    release, servers = upgrade.stack.release(live) or "", routes.servers(text, live)
    return lambda: proxy.unserved(host, live, servers, release, paths)


def _see(upgrade: Upgrade, wrong: str, look: Look) -> None:
    """Wait until users are served. Raises OperationError that says what is wrong."""
    host, timeout = upgrade.host, upgrade.environment.upgrade.switch_timeout.total_seconds()
    if last := proxy.explained(host, upgrade.stack, probe.poll(host, look, timeout)):
        raise OperationError(f"{host.name}: {wrong}", host=host.name, seen=last)


def _files(upgrade: Upgrade, settings: Environment) -> dict[str, str]:
    """Return what the release's proxy reads while users are where they are."""
    live = upgrade.stack.live
    text = render.routes(settings, live=live, preview=live, servers=upgrade.stack.servers((live,)))
    shown = render.certificates(settings, upgrade.release)
    return {
        ROUTES: text,
        proxy_settings.FILE: proxy_settings.recorded(settings),
        **{f"dynamic/{name}": content for name, content in shown.items()},
    }


def _read(upgrade: Upgrade, folder: PurePosixPath) -> dict[str, str]:
    found = {path: upgrade.host.read(folder / path) for path in FILES}
    return {path: text for path, text in found.items() if text is not None}


def _write(upgrade: Upgrade, files: Files) -> None:
    """Have the proxy read these files, and no other."""
    host = upgrade.host
    for path in FILES:
        if path in files:
            host.write(traefik(host) / path, files[path])
        else:
            host.run(["rm", "-f", str(traefik(host) / path)])
    host.forget_proxy_settings()


def _wanted_hash(upgrade: Upgrade) -> str:
    return inspection.config_hash((upgrade.files / NEW).read_text(encoding="utf-8"), upgrade.environment.project, ROLE)


def _folder(upgrade: Upgrade, part: str = "") -> PurePosixPath:
    """Return where the host keeps what the step needs for its undo, or a part of it; gone when the operation ends."""
    return upgrade.environment.directory / "swaps" / upgrade.intent.operation / part
