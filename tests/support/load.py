"""Users while something happens to a site: none of their requests may fail, none of their rows be gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bench.ledger import load, lost
from tests.support.site import Site


@contextmanager
def losing_nothing(site: Site, rate: float = 15, *, resets: int = 0) -> Iterator[None]:
    """Load the site for as long as the block lasts; fail when a request did, or an acknowledged write is gone.

    Of connections that never reached the application, so many may be reset.
    """
    with load(site.url, site.user, rate=rate, connections=6) as running:
        yield
        report = running.stop()
    failed = [failure for failure in report.failures if "reset by peer" not in failure]
    assert failed == []
    assert report.failed <= resets, report.failures
    assert report.requests > 20
    assert asyncio.run(lost(site.url, site.user, report.acknowledged)) == set()
