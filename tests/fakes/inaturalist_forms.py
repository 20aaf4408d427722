"""The JSON of iNaturalist's observations, photos and taxa, with the placeholders that hide some photos."""

from __future__ import annotations

from typing import Any

from tests.fakes.holdings import inaturalist_id, observation_id
from tests.fakes.licensing import attribution
from tests.fakes.pictures import Version
from tests.fakes.state import State
from tests.fakes.world import Photo, Sighting, Taxon, iso, made_uuid

Found = tuple[Sighting, list[Photo], str]
PLACEHOLDERS = {
    "copyright": "assets/copyright-infringement-square.png",
    "ai": "assets/artificially-generated-content-square.png",
    "hidden": "assets/media-hidden-square.png",
    "prefixless": "attachment_defaults/local_photos/square.png",
}
FLAG_NAMES = {"copyright": "copyright infringement", "ai": "artificially generated content"}


def observation(state: State, found: Found) -> dict[str, Any]:
    sighting, photos, flag = found
    number = observation_id(sighting)
    forms = [photo_form(state, photo, flag if i == 0 else "") for i, photo in enumerate(photos)]
    links = [
        {
            "id": inaturalist_id(p),
            "position": i,
            "uuid": made_uuid("link", p.number),
            "photo": {"id": inaturalist_id(p)},
        }
        for i, p in enumerate(photos)
    ]
    if flag == "null":  # the photo was deleted, its link is still there
        forms, links = forms[1:], [{**links[0], "photo": None}, *links[1:]]
    name, location, _, place_id = sighting.place
    return {
        "id": number,
        "uuid": made_uuid("observation", sighting.number),
        "quality_grade": sighting.grade,
        "captive": sighting.captive,
        "license_code": sighting.license or None,
        "observed_on": iso(sighting.seen)[:10],
        "time_observed_at": iso(sighting.seen),
        "created_at": iso(sighting.added),
        "updated_at": iso(sighting.changed),
        "species_guess": sighting.taxon.common,
        "place_guess": name,
        "place_ids": [place_id],
        "location": location,
        "obscured": False,
        "uri": f"https://www.inaturalist.org/observations/{number}",
        "taxon": taxon_form(sighting.taxon),
        "user": {
            "id": 500 + sighting.person.number,
            "login": sighting.person.login,
            "name": sighting.person.name if sighting.person.number % 3 else None,
            "suspended": False,
            "spam": False,
        },
        "annotations": [{"controlled_attribute_id": 17, "controlled_value_id": 19 if sighting.dead else 18}],
        "tags": [],
        "flags": [],
        "faves_count": 0,
        "comments_count": 0,
        "photos": forms,
        "observation_photos": links,
    }


def photo_form(state: State, photo: Photo, flag: str = "") -> dict[str, Any]:
    license = state.holdings.license(photo)
    width, height = Version(longest=2048).size(photo)
    url = state.holdings.inaturalist_url(photo, "square")
    if flag in PLACEHOLDERS:
        url = f"{state.urls['static']}/{PLACEHOLDERS[flag]}"
    flags = [{"id": photo.number + 1, "flag": FLAG_NAMES[flag], "resolved": False}] if flag in FLAG_NAMES else []
    return {
        "id": inaturalist_id(photo),
        "license_code": license or None,
        "attribution": attribution(license, photo.person.name),
        "url": url,
        "original_dimensions": {"width": width, "height": height} if license else None,
        "flags": flags,
        "hidden": flag == "hidden",
        "moderator_actions": [{"action": "hide"}] if flag == "hidden" else [],
    }


def taxon_form(taxon: Taxon) -> dict[str, Any]:
    return {
        "id": taxon.id,
        "name": taxon.name,
        "rank": taxon.rank,
        "rank_level": taxon.rank_level,
        "is_active": taxon.active,
        "iconic_taxon_name": "Mammalia" if taxon.rank_level < 50 else None,
        "preferred_common_name": taxon.common,
        "ancestor_ids": list(taxon.ancestors),
    }


def taxon_result(state: State, taxon: Taxon, term: str) -> dict[str, Any]:
    """As searches for taxa give them."""
    below = [s for s in state.world.sightings if taxon.id in s.taxon.ancestors]
    photo = next((p for s in below for p in s.photos if p.on_inaturalist and state.holdings.license(p)), None)
    default = None
    if photo:
        form = photo_form(state, photo)
        medium = state.holdings.inaturalist_url(photo, "medium")
        keys = ("id", "license_code", "attribution", "url", "original_dimensions")
        default = {**{k: form[k] for k in keys}, "square_url": form["url"], "medium_url": medium}
    counts = {"matched_term": term, "observations_count": len(below)}
    return {**taxon_form(taxon), **counts, "default_photo": default}
