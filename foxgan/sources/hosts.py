"""What a download learns of the hosts that it asks: who wants a rest, and who is not worth asking any more.

A host that wants to be left alone for an hour, or gives nothing at all, is not asked for a thousand photos one after the other; a later
run asks again.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass

from foxgan.web import MAX_WAIT, Failed

GIVE_UP = 10  # photos in a row that a host could not send
AILING = frozenset({"connection", "timeout", "http_429", "http_503"})  # the host is, not the one photo


@dataclass
class _Host:
    rests_until: float = 0.0  # of time.monotonic, which does not jump
    lost: int = 0
    closed: str = ""  # the reason not to ask it any more


class Hosts:
    """The hosts of one download."""

    def __init__(self) -> None:
        self._known: defaultdict[str, _Host] = defaultdict(_Host)

    async def rested(self, name: str) -> bool:
        """Whether the host had to be waited for. Raises Failed where it is not to be asked any more."""
        host = self._known[name]
        waited = False
        while not host.closed and (pause := host.rests_until - time.monotonic()) > 0:
            waited = True
            await asyncio.sleep(pause)
        if host.closed:
            raise Failed(host.closed)
        return waited

    def refused(self, name: str, failed: Failed) -> None:
        """A try was in vain."""
        host = self._known[name]
        if not failed.again:
            return
        if (failed.wait or 0) > MAX_WAIT:
            host.closed = failed.reason
        else:
            host.rests_until = max(host.rests_until, time.monotonic() + (failed.wait or 0))

    def lost(self, name: str, reason: str) -> None:
        """A photo was, after all tries."""
        host = self._known[name]
        host.lost = host.lost + 1 if reason in AILING else 0
        if host.lost >= GIVE_UP:
            host.closed = reason

    def answered(self, name: str) -> None:
        """A photo has come."""
        self._known[name].lost = 0
