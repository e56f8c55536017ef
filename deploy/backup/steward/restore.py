"""Putting a copy in the place of the database: at every moment the file there is the old one, or the new one, whole."""

from __future__ import annotations

import fcntl
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from .files import need_room, published, stamp_of, sync
from .pages import quiet
from .snapshot import rows, verify


def restore(copy: Path, target: Path) -> dict[str, Any]:
    """Put ``copy`` in the place of ``target``; return {bytes, seconds, rows, stamp}. The copy stays.

    Nobody may write meanwhile. All that was committed is first folded into the old file: a -wal that stays behind
    would be played into the new one, and undo the restore without a word. Then one rename decides. Who waits to
    open the database looks at it under the lock that is held here.
    """
    began = time.monotonic()
    held = rows(verify(copy))
    with target.with_name(f"{target.name}.migrating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            with closing(quiet(target)) as connection:
                connection.execute("ROLLBACK")
        for suffix in ("-wal", "-shm"):  # the last one to close has folded them in, and taken them away
            target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
        need_room(target.parent, copy.stat().st_size)
        incoming = target.with_name(f"{target.name}.incoming")
        with published(incoming) as partial:
            shutil.copyfile(copy, partial)
        incoming.replace(target)
        sync(target.parent)
        marked = stamp_of(target)
    seconds = round(time.monotonic() - began, 3)
    return {"bytes": target.stat().st_size, "seconds": seconds, "rows": held, "stamp": marked}
