"""One name for every license, from whatever service; and what a policy lets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxgan.licenses import (
    FLICKR,
    NONCOMMERCIAL,
    OPEN,
    RESERVED,
    UNKNOWN,
    allowed,
    forbids_changes,
    forbids_commerce,
    is_limited,
    license_url,
    normalised,
    tidy,
)

TERMS = ("by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd")
KNOWN = [*(f"CC-{terms.upper()}{version}" for terms in TERMS for version in ("", "-1.0", "-2.5", "-4.0"))]
KNOWN += ["CC0-1.0", "PDM-1.0", "GFDL", "LicenseRef-USGov", "LicenseRef-NoKnown", RESERVED, UNKNOWN]

TOLD = {  # as services write them
    # iNaturalist
    "cc0": "CC0-1.0", "pd": "PDM-1.0", "cc-by": "CC-BY", "cc-by-nc-sa": "CC-BY-NC-SA", "gfdl": "GFDL", "": UNKNOWN,
    # Openverse
    "by-nc-nd": "CC-BY-NC-ND", "pdm": "PDM-1.0", "sampling+": UNKNOWN, "nc-sampling+": UNKNOWN,
    # Commons
    "cc-by-sa-4.0": "CC-BY-SA-4.0", "CC BY-SA 4.0": "CC-BY-SA-4.0", "Public domain": "PDM-1.0", "CC0": "CC0-1.0",
    "cc-by-sa-3.0,2.5,2.0,1.0": "CC-BY-SA-3.0", "CC BY 3.0 de": "CC-BY-3.0", "GFDL 1.2": "GFDL", "PD-USGov-NASA": "LicenseRef-USGov",
    "Creative Commons Attribution-Share Alike 4.0": "CC-BY-SA-4.0", "Creative Commons Zero, Public Domain Dedication": "CC0-1.0",
    "Attribution": UNKNOWN, "Copyrighted free use": UNKNOWN, "FAL": UNKNOWN,
    # GBIF
    "CC0_1_0": "CC0-1.0", "CC_BY_4_0": "CC-BY-4.0", "CC_BY_NC_4_0": "CC-BY-NC-4.0", "UNSPECIFIED": UNKNOWN, "UNSUPPORTED": UNKNOWN,
    "http://creativecommons.org/publicdomain/zero/1.0/legalcode": "CC0-1.0",
    "http://creativecommons.org/licenses/by-nc/4.0/": "CC-BY-NC-4.0",
    # Flickr
    "All Rights Reserved": RESERVED, "Attribution License": "CC-BY", "Attribution-NonCommercial-ShareAlike License": "CC-BY-NC-SA",
    "Attribution-NoDerivs License": "CC-BY-ND", "No known copyright restrictions": "LicenseRef-NoKnown",
    "United States Government Work": "LicenseRef-USGov", "Public Domain Dedication (CC0)": "CC0-1.0",
    "Public Domain Mark": "PDM-1.0", "4": "CC-BY-2.0", "11": UNKNOWN, "99999999999999999999": UNKNOWN,
    # addresses
    "https://creativecommons.org/licenses/by-sa/3.0/de/deed.en": "CC-BY-SA-3.0", "//creativecommons.org/licenses/by/2.0": "CC-BY-2.0",
    "https://www.creativecommons.org/licenses/by-nd-nc/1.0/": "CC-BY-NC-ND-1.0", "https://creativecommons.org/licenses/by/": "CC-BY",
    "https://creativecommons.org/licenses/by/3.0/igo/legalcode": "CC-BY-3.0",
    "https://creativecommons.org/publicdomain/mark/1.0/deed.pt_BR": "PDM-1.0",
    "https://creativecommons.org/licenses/by/4.0/deed.zh-hans": "CC-BY-4.0",
    "https://creativecommons.org/licenses/sampling+/1.0/": UNKNOWN, "https://creativecommons.org/about": UNKNOWN,
    "https://evil.example/?creativecommons.org/licenses/by/4.0/": UNKNOWN, "https://www.gnu.org/copyleft/fdl.html": "GFDL",
    # what is no such license
    "CC BY-ND-SA 4.0": UNKNOWN, "cc-nc-sa-1.0": UNKNOWN, "cc-by-by": UNKNOWN, "MIT": UNKNOWN, "CC BY 4.0, or ask me": UNKNOWN,
    "Creative Commons Attribution 4.0 International Public License": "CC-BY-4.0", "cc-by-4": "CC-BY-4.0",
    "Attribution-NoDerivative Works 2.0": "CC-BY-ND-2.0", "zero": UNKNOWN,
}  # fmt: skip


@pytest.mark.parametrize(("text", "name"), TOLD.items())
def test_every_service_s_words_become_one_name(text, name):
    assert normalised(text) == name


@pytest.mark.parametrize("name", KNOWN)
def test_a_name_stays_what_it_is(name):
    assert normalised(name) == name


def test_numbers_none_and_versions_told_apart():
    assert [normalised(number) for number in range(11)] == list(FLICKR) and normalised(-1) == UNKNOWN
    assert (
        normalised(None) == UNKNOWN and normalised("by", "2.0") == "CC-BY-2.0" and normalised("cc0", "1.0") == "CC0-1.0"
    )
    assert normalised("cc-by-4.0", "2.0") == "CC-BY-4.0" and normalised("by", "any") == "CC-BY"


@given(
    scheme=st.sampled_from(["", "http:", "https:"]),
    www=st.sampled_from(["", "www."]),
    terms=st.sampled_from(TERMS),
    version=st.sampled_from(["1.0", "2.0", "2.1", "2.5", "3.0", "4.0"]),
    port=st.sampled_from(["", "/de", "/us", "/igo", "/scotland"]),
    page=st.sampled_from(
        ["", "/", "/legalcode", "/deed.de", "/deed.pt_BR", "/legalcode.txt", "/deed.en?ref=x", "/#yes"]
    ),
    upper=st.booleans(),
)
def test_any_form_of_an_address_tells_the_same(scheme, www, terms, version, port, page, upper):
    url = f"{scheme}//{www}creativecommons.org/licenses/{terms}/{version}{port}{page}"
    assert normalised(url.upper() if upper else url) == f"CC-{terms.upper()}-{version}"


@given(st.text(max_size=60))
def test_whatever_strangers_write_has_a_name_that_stays_and_is_dropped_unless_known(text):
    name = normalised(text)
    assert name in KNOWN or name.startswith("CC-")
    assert normalised(name) == name
    if name == UNKNOWN:
        assert not any(allowed(text, policy) for policy in ("open", "noncommercial", "any"))
    assert allowed(name, "noncommercial") >= allowed(name, "open") and allowed(name, "any") >= allowed(
        name, "noncommercial"
    )


@pytest.mark.parametrize("name", KNOWN)
def test_policies_take_what_they_say(name):
    family = name[: -len("-4.0")] if name[-1] == "0" and name.startswith("CC-") else name.removesuffix("-2.5")
    assert allowed(name, "open") == (family in OPEN)
    assert allowed(name, "noncommercial") == (family in NONCOMMERCIAL)
    assert allowed(name, "any") == (name not in (UNKNOWN, RESERVED))
    if "ND" in name.split("-"):
        assert not allowed(name, "open") and not allowed(name, "noncommercial")
    if allowed(name, "open"):
        assert not is_limited(name) and not forbids_commerce(name) and not forbids_changes(name)


@pytest.mark.parametrize("name", KNOWN)
def test_the_page_of_a_license_leads_back_to_it(name):
    url = license_url(name)
    if name.startswith("CC-") and name[-1].isdecimal() or name in ("CC0-1.0", "PDM-1.0", "GFDL"):
        assert url and normalised(url) == name
    if name in (UNKNOWN, RESERVED, "CC-BY", "MIT"):
        assert url is None


def test_limits_are_found_in_words_of_people_too():
    limited = [
        "",
        "unknown",
        "CC-BY-NC-4.0",
        "cc by nc",
        "for Non-Commercial use",
        "All rights reserved",
        "CC-BY-ND-2.0",
    ]
    assert all(is_limited(text) for text in limited)
    assert not any(
        is_limited(text) for text in ["MIT", "Apache-2.0", "my own", "CC-BY-4.0", "GFDL", "Vincent's", "land survey"]
    )
    assert (
        forbids_commerce("CC-BY-NC-ND-4.0") and not forbids_commerce("CC-BY-ND-4.0") and not forbids_commerce("unknown")
    )
    assert forbids_changes("CC-BY-NC-ND-4.0") and not forbids_changes("CC-BY-NC-4.0")


def test_a_license_that_we_do_not_know_keeps_its_words():
    assert [tidy(text) for text in ("cc by 4.0", " MIT ", None, "")] == ["CC-BY-4.0", "MIT", UNKNOWN, UNKNOWN]
