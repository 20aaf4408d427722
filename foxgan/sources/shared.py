"""What services tell of each other's photos: by which name and group the place that they come from knows them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_INATURALIST_PHOTO = re.compile(r".*/photos/(\d+)/(?:original|large|medium|small|thumb|square)\.\w+")
_PAGES = {  # of an animal, or else of a photo
    "inaturalist": r"(?:\w+\.)?inaturalist\.[\w.]+/observations/(\d+)",
    "flickr": r"(?:www\.)?flickr\.com/photos/[^/?#]+/(\d+)(?:/[^?#]*)?",
    "commons": r"commons\.wikimedia\.org/(?:w/index\.php)?\?curid=(\d+)",
}
_GROUPS = {service: re.compile(rf"https?://{page}/?(?:[?#].*)?") for service, page in _PAGES.items()}


def shared_id(url: str, *about: object) -> str | None:
    """`inaturalist:<id>` for a photo of iNaturalist that another service tells of, so that it is known as what this one tells of, too.

    `about`: what else is said of it, as an address of another host may look alike.
    """
    found = _INATURALIST_PHOTO.fullmatch(urlsplit(url).path)
    ours = any("inaturalist" in str(text).lower() for text in (url, *about))
    return f"inaturalist:{found[1]}" if found and ours else None


def shared_group(landing: object) -> str | None:
    """The group that a photo has at the service whose page is `landing`, as its spider calls it; None for other pages."""
    found = ((service, page.fullmatch(str(landing))) for service, page in _GROUPS.items())
    return next((f"{service}:{match[1]}" for service, match in found if match), None)
