"""Who may come in, judged by the User-Agent, as Wikimedia does it since August 2025."""

from __future__ import annotations

import re

LIBRARIES = re.compile(
    r"^(python-requests|python-urllib|aiohttp|httpx|curl|wget|java|go-http-client|mozilla)\b", re.IGNORECASE
)
CONTACT = re.compile(r"\([^)]*(https?://|[^\s@]+@[^\s@]+\.)[^)]*\)")


def has_contact(agent: str) -> bool:
    """`<client>/<version> (<contact>) <library>/<version>`: no library's own name, no browser's, and an address or a page."""
    name = agent.partition("(")[0]
    return not re.match(r"^Python/", agent) and not LIBRARIES.match(name) and bool(CONTACT.search(agent))
