"""What can be said about photos from the web: which ones, and how to behave there."""

import os
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from foxgan.errors import UsageError
from foxgan.licenses import Policy

CONTACT = "FOXGAN_CONTACT"
RECORDS = (  # https://gbif.github.io/gbif-api/apidocs/org/gbif/api/vocabulary/BasisOfRecord.html
    "HUMAN_OBSERVATION",
    "MACHINE_OBSERVATION",
    "OBSERVATION",
    "LIVING_SPECIMEN",
    "PRESERVED_SPECIMEN",
    "FOSSIL_SPECIMEN",
    "MATERIAL_SAMPLE",
    "MATERIAL_CITATION",
    "OCCURRENCE",
)


class WebParams(BaseModel):
    """Fields of stage `scrape` for services and lists of addresses."""

    model_config = ConfigDict(frozen=True)

    taxon: str | None = Field(
        None, min_length=1, description="Web services: what to look for, a scientific name or an id"
    )
    url: str | None = Field(
        None, min_length=1, description="Source page: address of the first page; {page} counts pages"
    )
    pages: int = Field(100, gt=0, description="Source page: at most so many pages")
    licenses: Policy | None = Field(
        None,
        description="Whose photos to take; any: all with a known license (default: open from services, everything from pages and lists)",
    )
    variant: Literal["original", "large", "medium", "small"] = Field(
        "original",
        description="Which size to fetch: original (at most 2048 pixels), large (1024), medium (500), small (240)",
    )
    quality_grade: str = Field("research", description="Observations of these grades: research, needs_id, casual")
    basis_of_record: str = Field(
        "HUMAN_OBSERVATION,MACHINE_OBSERVATION",
        description="GBIF: records of these kinds; PRESERVED_SPECIMEN are skins and skulls in drawers",
    )
    mature: bool = Field(False, description="Openverse: pictures that are marked as sensitive, too")
    contact: str = Field(
        "",
        description="Your e-mail address or page (default: that in FOXGAN_CONTACT), told to the servers; some let nobody in without",
    )
    robots: bool = Field(True, description="Do what robots.txt and X-Robots-Tag headers ask of robots")
    timeout: float = Field(30.0, gt=0, description="Seconds to wait for a silent server")
    retries: int = Field(3, ge=0, le=10, description="Further attempts for a photo that could not be fetched")
    rate: float = Field(5.0, gt=0, description="Requests per second and host")
    connections: int = Field(16, gt=0, description="Downloads at a time")

    @field_validator("basis_of_record")
    @classmethod
    def _known_kinds(cls, text: str) -> str:
        """In one order, so that equal choices are equal."""
        chosen = {"_".join(word.upper().split()) for word in text.split(",")}
        if wrong := chosen - {*RECORDS}:
            raise ValueError(f"no kind of record is {sorted(wrong)[0]!r}; write some of {', '.join(RECORDS)}")
        return ",".join(kind for kind in RECORDS if kind in chosen)

    def asker(self) -> str:
        """Who asks, for the servers to know: `contact`, or what the environment says. Raises UsageError where a header cannot hold it."""
        contact = (self.contact or os.environ.get(CONTACT, "")).strip()
        if not contact.isprintable():
            raise UsageError(f"scrape: contact is {contact!r}; give an e-mail address or page, on one line")
        return contact
