"""The licenses of the small world, in each service's words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class License:
    """`code` is iNaturalist's. `flickr` is an id; `commons` and `short` are what Wikimedia Commons writes; `path` that of the URL."""

    code: str
    openverse: str
    flickr: str
    commons: str
    short: str
    path: str
    version: str

    def url(self, scheme: str = "https", version: str | None = None) -> str:
        path = self.path.replace(self.version, version) if version else self.path
        return f"{scheme}://creativecommons.org/{path}/"

    @property
    def free(self) -> bool:
        """Whether Commons would take it."""
        return bool(self.commons)

    @property
    def commercial(self) -> bool:
        return "nc" not in self.code

    @property
    def modifiable(self) -> bool:
        return "nd" not in self.code


def _cc(part: str, flickr: str, free: bool = False) -> License:
    name = f"cc-{part}"
    return License(
        name, part, flickr, f"{name}-4.0" if free else "", f"CC {part.upper()} 4.0", f"licenses/{part}/4.0", "4.0"
    )


LICENSES = {
    license.code: license
    for license in (
        License("cc0", "cc0", "9", "cc0", "CC0", "publicdomain/zero/1.0", "1.0"),
        License("pd", "pdm", "10", "pd", "Public domain", "publicdomain/mark/1.0", "1.0"),
        _cc("by", "4", True),
        _cc("by-sa", "5", True),
        _cc("by-nc", "2"),
        _cc("by-nd", "6"),
        _cc("by-nc-sa", "1"),
        _cc("by-nc-nd", "3"),
    )
}
# How many of 20 sightings have one; "" is all rights reserved
SHARES = {
    "": 3,
    "cc0": 2,
    "pd": 2,
    "cc-by": 4,
    "cc-by-sa": 2,
    "cc-by-nc": 4,
    "cc-by-nd": 1,
    "cc-by-nc-sa": 1,
    "cc-by-nc-nd": 1,
}


def attribution(code: str, name: str) -> str:
    """iNaturalist's line below a photo."""
    match code:
        case "cc0":
            return "no rights reserved"
        case "pd":
            return f"{name}, no known copyright restrictions (public domain)"
        case "":
            return f"(c) {name}, all rights reserved"
    return f"(c) {name}, some rights reserved ({code.upper().replace('CC-', 'CC ', 1)})"
