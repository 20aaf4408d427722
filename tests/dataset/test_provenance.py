"""Whose pictures a dataset holds: the list, the cards, and what strangers' texts cannot do in them."""

import csv
import hashlib
import json
import re

import pytest

from foxgan.dataset.croissant import CROISSANT, described, write_croissant
from foxgan.dataset.datacard import CARD_FILE, SHOWN, data_card, write_cards
from foxgan.dataset.index import write_index
from foxgan.dataset.provenance import ATTRIBUTION, LISTED, MANIFEST, Passed, origins_of, steps_before, write_attribution

WHAT = "8x8 RGB, zstd"


def row(number, **facts):
    return {"id": f"{number:064x}", "path": f"images/{number}.png", "source": "gbif", "source_id": str(number), **facts}


def listed(folder):
    with (folder / ATTRIBUTION).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def artifact(folder, stage, rows, inputs=(), counted=None, **params):
    """A finished step, as far as cards look at it."""
    folder.mkdir()
    if rows:
        write_index(folder, rows)
    manifest = {
        "stage": stage, "step": folder.name, "params": params, "counts": counted,
        "inputs": {"images": [{"path": str(path), "digest": "x"} for path in inputs]},
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def test_every_kept_picture_is_listed_with_all_that_is_known_of_it(tmp_path):
    known = {
        "license": "CC BY 4.0", "license_url": "https://example.org/l", "creator": "A. Person", "attribution": "(c) A. Person",
        "landing_url": "https://example.org/1", "also": ["folder:copy.jpg", "urls:x"],
    }  # fmt: skip
    rows = [row(2, license="mine", creator="Me"), row(1, **known), row(3, status="blurry"), row(4, license="CC0-1.0")]
    write_index(tmp_path, rows)
    write_attribution(tmp_path, tmp_path)
    found = listed(tmp_path)
    assert list(found[0]) == list(LISTED) and [int(r["id"], 16) for r in found] == [1, 2, 4]
    known |= {"license": "CC-BY-4.0", "also": "folder:copy.jpg urls:x", "file": "images/1.png", "source": "gbif"}
    assert found[0] == known | {"id": f"{1:064x}", "source_id": "1"}
    assert found[1]["license"] == "mine" and found[1]["attribution"] == "Me, mine" and found[1]["license_url"] == ""
    assert (
        found[2]["license_url"] == "https://creativecommons.org/publicdomain/zero/1.0/"
        and found[2]["attribution"] == ""
    )


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", " =", "\r=", "\n=", "＝", "＠", "\x00=", "\u2028="])
def test_a_spreadsheet_takes_no_text_for_a_formula_and_every_picture_is_one_line(tmp_path, begin):
    text = f'{begin}HYPERLINK("http://evil.example";"a")\r\nb,"c'
    write_index(tmp_path, [row(1, creator=text, landing_url=text, source_id=text), row(2, creator="A-B=C")])
    write_attribution(tmp_path, tmp_path)
    raw = (tmp_path / ATTRIBUTION).read_text(encoding="utf-8")
    assert len(raw.splitlines()) == 3 and all(line.startswith('"') for line in raw.splitlines())
    for column in ("creator", "landing_url", "source_id", "attribution"):
        assert listed(tmp_path)[0][column].startswith("'"), column
    assert listed(tmp_path)[1]["creator"] == "A-B=C"


def test_no_cell_of_any_column_begins_as_a_formula(tmp_path):
    facts = dict.fromkeys((*LISTED, "path"), "=1+1") | {"also": ["=1+1"], "status": "kept"}
    facts.pop("file")
    write_index(tmp_path, [facts])
    write_attribution(tmp_path, tmp_path)
    assert not re.search(r'"[=+@-]', (tmp_path / ATTRIBUTION).read_text())


def test_steps_before_are_told_from_the_photos_on_also_where_a_folder_is_gone(tmp_path):
    counted = {"in": 5, "kept": 2, "dropped": {"too_small": 1, "license": 2}}
    photos = artifact(tmp_path / "photos", "scrape", [], counted=counted, licenses="open", taxon="fox")
    heads = artifact(tmp_path / "heads", "detect", [], [photos, tmp_path / "gone"], {"in": 2, "kept": 2, "dropped": {}})
    crops = artifact(tmp_path / "crops", "crop", [], [heads, photos], {"in": 2, "kept": 1, "dropped": {"broken": 1}})
    steps = steps_before([crops, crops])
    assert [step.name for step in steps] == ["photos", "heads", "crops"]
    assert steps[0] == Passed("photos", "scrape", 5, 2, counted["dropped"], "open")
    (photos / MANIFEST).write_bytes(b"\xff damaged")
    assert [step.name for step in steps_before([crops])] == ["heads", "crops"]


def test_an_artifact_without_a_manifest_tells_what_its_index_does(tmp_path):
    write_index(tmp_path, [row(1), row(2, status="blurry")])
    assert steps_before([tmp_path, tmp_path / "nothing"]) == [Passed(tmp_path.name, "", 2, 1, {"blurry": 1}, "")]


def test_the_card_tells_counts_reasons_policy_terms_and_what_nobody_knows(tmp_path):
    rows = [row(n, license="CC-BY-SA-4.0", creator="A", **{"class": "fox"}) for n in range(3)]
    rows += [row(9, license=None, source="folder"), row(10, license="CC-BY-NC-ND-2.0", creator="B")]
    photos = artifact(
        tmp_path / "photos",
        "scrape",
        [],
        counted={"in": 9, "kept": 5, "dropped": {"license": 4}},
        licenses="any",
        taxon="fox",
    )
    crops = artifact(tmp_path / "crops", "crop", rows, [photos])
    write_cards(crops, [crops], WHAT)
    card = (crops / CARD_FILE).read_text(encoding="utf-8")
    for words in (
        "# crops\n", "5 pictures: 8x8 RGB", "| gbif | 4 |", "| folder | 1 |", "| fox | 3 |", "| unknown | 1 |",
        "| [CC-BY-SA-4.0](https://creativecommons.org/licenses/by-sa/4.0/) | 3 |", "Policy: `any` (every license that is known) in photos.",
        "license 4",
        "Name the authors of CC BY", "share-alike", "non-commercial use only", "forbids to pass on", "license of 1 pictures",
        "author of 1 pictures", "foxgan withdraw", f"[{ATTRIBUTION}]({ATTRIBUTION})",
    ):  # fmt: skip
        assert words in card, words


def test_the_card_of_free_pictures_without_a_past_says_so_little(tmp_path):
    write_index(tmp_path, [row(1, license="CC0-1.0", creator="foxgan")])
    card = data_card("x", WHAT, origins_of(tmp_path), [])
    assert "No policy" in card and "nothing is known any more" in card and "## Classes" not in card
    assert "Name the authors" not in card and "author of" not in card and "commercial" not in card


def test_strangers_words_cannot_break_the_card(tmp_path):
    hostile = "[a](javascript:1) | <script>\n\n# b"
    rows = [row(n, license=f"{n:02} {hostile}", source=hostile, **{"class": hostile}) for n in range(SHOWN + 2)]
    write_index(tmp_path, rows)
    card = data_card(hostile, WHAT, origins_of(tmp_path), [Passed(hostile, hostile, 1, 0, {hostile: 1}, hostile)])
    assert "<script" not in card and "\n# b" not in card and not re.search(r"(?<!\\)\[a\]", card)
    assert "| 2 more | 2 |" in card
    assert all(len(re.findall(r"(?<!\\)\|", line)) in (0, 3, 6) for line in card.splitlines())


def test_croissant_describes_files_and_columns_that_are_there(tmp_path):
    write_index(tmp_path, [row(1, license="cc by 4.0", creator="A"), row(2, creator="B")])
    write_cards(tmp_path, [], WHAT)
    told = json.loads((tmp_path / CROISSANT).read_text(encoding="utf-8"))
    assert told["@type"] == "sc:Dataset" and told["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert {"name", "description", "license", "url", "creator", "datePublished", "version"} <= told.keys()
    assert sorted(told["license"]) == ["https://creativecommons.org/licenses/by/4.0/", "unknown"]
    assert [person["name"] for person in told["creator"]] == ["A", "B"]
    files = {file["@id"]: file for file in told["distribution"]}
    assert files.keys() == {ATTRIBUTION, "index.parquet"}
    for name, file in files.items():
        data = (tmp_path / name).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest() and file["contentSize"] == f"{len(data)} B"
    (records,) = told["recordSet"]
    assert [field["source"]["extract"]["column"] for field in records["field"]] == list(listed(tmp_path)[0])
    ids = [records["@id"], *files, *(field["@id"] for field in records["field"])]
    assert len(set(ids)) == len(ids) and records["key"]["@id"] in ids
    assert {field["source"]["fileObject"]["@id"] for field in records["field"]} <= files.keys()


def test_every_croissant_word_is_in_the_context(tmp_path):
    write_index(tmp_path, [row(1)])
    write_attribution(tmp_path, tmp_path)
    write_croissant(tmp_path, "x", WHAT, origins_of(tmp_path))
    told = described(tmp_path, "x", WHAT, origins_of(tmp_path))
    context = told.pop("@context")
    prefixes = {word for word, url in context.items() if isinstance(url, str) and url.startswith("http")}

    def words(value):
        for key, inner in value.items() if isinstance(value, dict) else ():
            yield key
            yield from words(inner)
            if key in ("@type", "dataType"):
                assert inner.split(":")[0] in prefixes
        for inner in value if isinstance(value, list) else ():
            yield from words(inner)

    schema = {"name", "description", "url", "version", "datePublished", "license", "creator", "distribution", "contentSize",
              "contentUrl", "encodingFormat", "sha256"}  # fmt: skip
    assert {word for word in words(told) if not word.startswith("@")} <= context.keys() | schema
