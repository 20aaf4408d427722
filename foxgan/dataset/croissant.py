"""`croissant.json`: a dataset described for machines (Croissant 1.0, http://mlcommons.org/croissant/1.0), as JSON-LD.

Its records are the rows of `ATTRIBUTION.csv`; the pictures themselves are in an LMDB, which Croissant has no word for.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foxgan.dataset.index import INDEX
from foxgan.dataset.provenance import ATTRIBUTION, LISTED, Origins
from foxgan.dataset.store import FILE
from foxgan.images import write_bytes

CROISSANT = "croissant.json"
CONFORMS = "http://mlcommons.org/croissant/1.0"
MOST_CREATORS = 100
FILES = {  # what is described, if it is there: media type, and what is in it
    ATTRIBUTION: ("text/csv", "One row for each picture: where it comes from, who made it, and under which license."),
    INDEX: ("application/x-parquet", "The same, with labels and all else that is known of the pictures."),
    FILE: ("application/octet-stream", "An LMDB: the encoded pictures under their 8-digit positions."),
    "dataset.zip": ("application/zip", "The pictures as PNG with dataset.json, in NVIDIA's layout."),
}
_CROISSANT_WORDS = (
    *("citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes"),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{word: f"cr:{word}" for word in _CROISSANT_WORDS},
}


def write_croissant(folder: Path, name: str, what: str, origins: Origins) -> None:
    """Describe the files of the dataset in `folder`, which must be complete."""
    text = json.dumps(described(folder, name, what, origins), indent=1, ensure_ascii=False)
    write_bytes(folder / CROISSANT, text.encode())


def described(folder: Path, name: str, what: str, origins: Origins) -> dict[str, Any]:
    """The description as JSON values."""
    people = [{"@type": "sc:Person", "name": creator} for creator in origins.creators[:MOST_CREATORS]]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS,
        "name": name,
        "description": f"{origins.count} pictures: {what}. {ATTRIBUTION} names the author and license of each.",
        "url": "./",
        "version": "1.0.0",
        "datePublished": datetime.now(UTC).date().isoformat(),
        "license": [origins.pages.get(license, license) for license in origins.licenses],
        "creator": people or [{"@type": "sc:Organization", "name": "unknown"}],
        "distribution": [_file(folder / file) for file in FILES if (folder / file).exists()],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "pictures",
                "name": "pictures",
                "key": {"@id": "pictures/id"},
                "field": [_field(column) for column in LISTED],
            }
        ],
    }


def _file(path: Path) -> dict[str, Any]:
    media_type, description = FILES[path.name]
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "description": description,
        "contentSize": f"{path.stat().st_size} B",
        "contentUrl": path.name,
        "encodingFormat": media_type,
        "sha256": sha256,
    }


def _field(column: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"pictures/{column}",
        "name": column,
        "description": LISTED[column],
        "dataType": "sc:URL" if column.endswith("_url") else "sc:Text",
        "source": {"fileObject": {"@id": ATTRIBUTION}, "extract": {"column": column}},
    }
