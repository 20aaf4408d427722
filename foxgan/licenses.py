"""Licenses by one name each, whatever a service calls them, and which of them a policy allows.

Names are SPDX's where it has one. A version that nobody told stays out (`CC-BY`), and so do ports (`/3.0/de/`): both leave what is
allowed as it is. What is not clearly one of these licenses is `unknown`, so that it is dropped rather than believed.
"""

import re
from typing import Literal

Policy = Literal["open", "noncommercial", "any"]

UNKNOWN, RESERVED = "unknown", "all-rights-reserved"
CC0, PDM, GFDL, US_GOVERNMENT, NO_KNOWN = "CC0-1.0", "PDM-1.0", "GFDL", "LicenseRef-USGov", "LicenseRef-NoKnown"

POLICIES = {  # what they allow, in words
    "open": "CC0, public domain, CC BY, CC BY-SA",
    "noncommercial": "CC0, public domain, CC BY, CC BY-SA, CC BY-NC, CC BY-NC-SA",
    "any": "every license that is known",
}
OPEN = frozenset({CC0, PDM, "CC-BY", "CC-BY-SA"})
NONCOMMERCIAL = OPEN | {"CC-BY-NC", "CC-BY-NC-SA"}
PAGES = {
    CC0: "https://creativecommons.org/publicdomain/zero/1.0/",
    PDM: "https://creativecommons.org/publicdomain/mark/1.0/",
    GFDL: "https://www.gnu.org/licenses/fdl.html",
    US_GOVERNMENT: "https://www.usa.gov/government-works",
    NO_KNOWN: "https://www.flickr.com/commons/usage/",
}
# Flickr's numbers; later ones are in its `photos.licenses.getInfo`, with addresses.
FLICKR: tuple[str, ...] = (
    RESERVED,
    *(f"CC-{terms}-2.0" for terms in ("BY-NC-SA", "BY-NC", "BY-NC-ND", "BY", "BY-SA", "BY-ND")),
    *(NO_KNOWN, US_GOVERNMENT, CC0, PDM),
)
NAMES = {  # as `_plain` spells them, without a version
    **dict.fromkeys(("cc0", "cc-0", "cc-zero", "creative-commons-zero", "public-domain-dedication-(cc0)"), CC0),
    "creative-commons-zero,-public-domain-dedication": CC0,
    **dict.fromkeys(("pd", "pdm", "cc-pdm", "public-domain", "public-domain-mark"), PDM),
    **dict.fromkeys(("united-states-government-work", "us-government-work", "licenseref-usgov"), US_GOVERNMENT),
    **dict.fromkeys(("no-known-copyright-restrictions", "no-known-restrictions", "licenseref-noknown"), NO_KNOWN),
    RESERVED: RESERVED,
    "attribution": UNKNOWN,  # a template of Commons with terms of its own
}
_ADDRESS = re.compile(
    r"(?:https?:)?(?://)?(?:www\.)?creativecommons\.org/(?:licen[sc]es|publicdomain)/([a-z-]+)"
    r"(?:/(\d\.\d))?(?:/[a-z]{2,8})?(?:/(?:legalcode|deed)(?:[.-][a-z_-]+)?)?/?(?:[?#].*)?"
)
_FDL = re.compile(r"https?://(?:www\.)?gnu\.org/(?:copyleft|licenses)/(?:old-licenses/)?fdl(?:-\d\.\d)?(?:\.\w+)*/?")
_WORDS = (  # in Creative Commons' long names
    (r"creative-?commons", "cc"),
    (r"attribution", "by"),
    (r"non-?commercial", "nc"),
    (r"share-?alike", "sa"),
    (r"no-?deriv(?:ative-work|ative)?s?", "nd"),
    (r"-(?:public-)?licen[sc]es?\b|-international|-unported|-generic|-universal", ""),
)
# `cc-by-sa-4.0`, `by-nc`, `cc-by-3.0-de`, and Commons' choice of versions, `cc-by-sa-3.0,2.5,1.0`
_TERMS = re.compile(r"(?:cc-)?((?:by|nc|nd|sa)(?:-(?:by|nc|nd|sa))*)(?:-v?(\d(?:\.\d)?)(?:,\d\.\d)*)?(?:-[a-z]{2,3})?")
_COMMERCE = re.compile(r"(?i)(?<![a-z])(?:nc|non[-_ ]?commercial)(?![a-z])")
_CHANGES = re.compile(r"(?i)(?<![a-z])(?:nd|no[-_ ]?deriv\w*)(?![a-z])")


def normalised(text: str | int | None, version: str | None = None) -> str:
    """The one name of a license that iNaturalist, Openverse, Commons, GBIF, Flickr (numbers, too) or an address tells.

    `version` is for services that tell it apart from the name.
    """
    plain = _plain(str(text if text is not None else ""))
    if plain.isdecimal():
        return FLICKR[int(plain)] if len(plain) < 3 and int(plain) < len(FLICKR) else UNKNOWN
    if "creativecommons.org" in plain:
        address = _ADDRESS.fullmatch(plain)
        terms = {"zero": "cc0", "mark": "pdm"}.get(address[1], address[1]) if address else ""
        plain = f"{terms}-{address[2]}" if address and address[2] else terms
    name = NAMES.get(re.sub(r"-1\.0$", "", re.sub(r"-universal$", "", plain)))
    if name:
        return name
    if re.fullmatch(r"gfdl(-.*)?", plain) or _FDL.fullmatch(plain):
        return GFDL
    if plain.startswith("pd-usgov"):
        return US_GOVERNMENT
    return _creative_commons(plain, version)


def tidy(text: str | None) -> str:
    """The one name of a license, or what its owner wrote where it is none that we know; `?` and the like tell nothing."""
    name, written = normalised(text), (text or "").strip()
    return written if name == UNKNOWN and any(map(str.isalpha, written)) else name


def allowed(license: str, policy: Policy) -> bool:
    """Whether pictures under `license` may be taken in.

    A crop is an adaptation, so only `any`, which takes all that has a license, takes ND. What is unknown or reserved is never taken.
    """
    name = normalised(license)
    if policy == "any":
        return name not in (UNKNOWN, RESERVED)
    return _without_version(name) in (OPEN if policy == "open" else NONCOMMERCIAL)


def license_url(license: str) -> str | None:
    """The page of a license by its normalised name; None where it has none, or where nobody told its version."""
    found = re.fullmatch(r"CC-([A-Z-]+)-(\d\.\d)", license)
    if found:
        return f"https://creativecommons.org/licenses/{found[1].lower()}/{found[2]}/"
    return PAGES.get(license)


def forbids_commerce(license: str) -> bool:
    """Whether a license, by whatever name, forbids commercial use."""
    return bool(_COMMERCE.search(license)) or normalised(license) == RESERVED


def forbids_changes(license: str) -> bool:
    """Whether a license, by whatever name, forbids to pass on what was made of the picture."""
    return bool(_CHANGES.search(license)) or normalised(license) == RESERVED


def is_limited(license: str) -> bool:
    """Whether a license, by whatever name, is unknown or forbids commercial use or changes."""
    is_unknown = not license.strip() or re.search(r"(?i)(?<![a-z])unknown(?![a-z])", license)
    return bool(is_unknown) or forbids_commerce(license) or forbids_changes(license)


def _plain(text: str) -> str:
    """Lower case, one dash between words, and a dot within a version (`CC_BY_4_0` -> `cc-by-4.0`)."""
    text = re.sub(r"[\s_-]+", "-", text.strip().lower())
    return re.sub(r"(?<=-)(\d)-(\d)(?![\d.-])", r"\1.\2", text)


def _without_version(name: str) -> str:
    return re.sub(r"-\d\.\d$", "", name) if name.startswith("CC-") else name


def _creative_commons(plain: str, version: str | None) -> str:
    for pattern, word in _WORDS:
        plain = re.sub(pattern, word, plain)
    found = _TERMS.fullmatch(plain.strip("-"))
    terms = found[1].split("-") if found else []
    if found is None or "by" not in terms or len(set(terms)) < len(terms) or {"nd", "sa"} <= set(terms):
        return UNKNOWN
    told = found[2] or (version if version and re.fullmatch(r"\d(\.\d)?", version) else "")
    name = "-".join(["CC", *(word.upper() for word in ("by", "nc", "nd", "sa") if word in terms)])
    return f"{name}-{told if '.' in told else f'{told}.0'}" if told else name
