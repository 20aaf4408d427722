"""Whose photos and weights are in a model: the facts, the card, and what needs a word of consent."""

import pytest
import torch

from foxgan.dataset.index import write_index
from foxgan.dataset.provenance import ATTRIBUTION
from foxgan.errors import UsageError
from foxgan.gan.card import CARD_FILE, base_of, model_card, photos_of, refuse_clash, terms_of, write_card
from foxgan.gan.config import NetworkConfig
from foxgan.gan.model import Model
from foxgan.gan.stylegan2 import Generator

SIZES = NetworkConfig(height=16, width=16, z_dim=4, w_dim=4, mapping_layers=1, channel_base=64, channel_max=8)
OPEN = {"count": 3, "licenses": {"CC0-1.0": 2, "CC-BY-4.0": 1}}


def model(**info) -> Model:
    return Model(G_ema=Generator(SIZES, torch.Generator().manual_seed(0)), network=SIZES, info=info)


def test_licenses_are_counted_over_the_kept_images(tmp_path):
    rows = [{"id": str(i), "license": name} for i, name in enumerate(["CC0-1.0", "CC-BY-4.0", "CC0-1.0", None])]
    write_index(tmp_path, [*rows, {"id": "9", "license": "CC-BY-NC-4.0", "status": "blurry"}])
    facts = photos_of(tmp_path)
    assert facts["count"] == 4 and facts["licenses"] == {"CC0-1.0": 2, "CC-BY-4.0": 1, "unknown": 1}


def test_a_public_model_is_known_with_its_license_by_name_and_by_file(tmp_path, monkeypatch):
    facts = base_of("afhqwild", model())
    assert facts["noncommercial"] is True and "Nvidia" in facts["license"]
    monkeypatch.setenv("FOXGAN_MODELS", str(tmp_path))
    (tmp_path / "afhqwild.pkl").write_bytes(b"")
    assert base_of(tmp_path / "afhqwild.pkl", model()) == facts


def test_a_model_trained_from_another_stays_under_its_terms():
    base = base_of("snapshot.safetensors", model(base=base_of("afhqwild", model())))
    assert base["noncommercial"] is True and base["base"]["name"] == "afhqwild"
    with pytest.raises(UsageError, match="may not be used freely .for non-commercial use only"):
        refuse_clash(base, OPEN, accepted=False)


def test_a_model_of_limited_photos_is_limited_itself_and_one_of_own_photos_is_not():
    assert (
        base_of("a.safetensors", model(photos={"count": 1, "licenses": {"CC-BY-NC-4.0": 1}}))["noncommercial"] is True
    )
    assert base_of("a.safetensors", model(photos={"count": 1, "licenses": {"unknown": 1}}))["noncommercial"] is False
    assert (
        base_of("a.safetensors", model(photos={"count": 1, "licenses": {"CC-BY-ND-4.0": 1}}))["noncommercial"] is False
    )


def test_of_foreign_weights_that_nobody_listed_no_terms_are_known():
    foreign = Model(G_ema=model().G_ema, network=SIZES, info={}, format="rosinality")
    assert terms_of(base_of("their.pt", foreign)) == "license unknown: ask its author"


def test_limited_weights_and_free_photos_need_consent():
    base = base_of("afhqwild", model())
    with pytest.raises(UsageError, match="afhqwild may not be used freely .Nvidia.*all 3 images.*accept_license: true"):
        refuse_clash(base, OPEN, accepted=False)
    refuse_clash(base, OPEN, accepted=True)


@pytest.mark.parametrize("licenses", [{}, {"CC0-1.0": 1, "CC-BY-NC-4.0": 2}, {"unknown": 3}, {"CC-BY-ND-2.0": 3}])
def test_photos_that_are_no_freer_than_the_weights_clash_with_nothing(licenses):
    limited, free = base_of("afhqwild", model()), base_of("wolves64", model())
    refuse_clash(limited, {"count": 3, "licenses": licenses}, accepted=False)
    refuse_clash(free, OPEN, accepted=False)
    with pytest.raises(UsageError):  # only both together clash
        refuse_clash(limited, OPEN, accepted=False)


def test_the_card_tells_sizes_sources_and_terms():
    info = {
        "nimg": 25000,
        "photos": OPEN,
        "base": base_of("afhqwild", model()),
        "config": {"gamma": 1.5, "mirror": False},
    }
    card = model_card("foxes", SIZES, info)
    assert card.startswith("# foxes\n")
    for words in (
        "16x16 RGB",
        "25 kimg",
        "gamma 1.5",
        "3; licenses: CC0-1.0 2, CC-BY-4.0 1",
        "non-commercial use only",
    ):
        assert words in card, words
    assert "mirror" not in card


def test_the_card_of_a_model_without_a_past_says_so_little():
    card = model_card("model", SIZES.model_copy(update={"c_dim": 2}), {})
    assert "of 2 classes" in card and "torch.eye(2)" in card and "No restriction is known" in card
    assert "trained" not in card.split("##")[0]


def test_the_card_names_what_the_licenses_of_images_forbid():
    card = model_card(
        "m", SIZES, {"photos": {"count": 3, "licenses": {"CC-BY-ND-2.0": 1, "CC-BY-NC-2.0": 1, "unknown": 1}}}
    )
    for words in ("license of 1 images is unknown", "for non-commercial use only", "forbids to pass on"):
        assert words in card, words
    assert "forbids" not in model_card("m", SIZES, {"photos": {"count": 1, "licenses": {"CC-BY-NC-2.0": 1}}})


def test_sources_and_people_are_counted_and_told(tmp_path):
    rows = [
        {"id": str(i), "source": source, "license": "cc by 4.0", "creator": creator}
        for i, (source, creator) in enumerate([("folder", "A"), ("gbif", "A"), ("gbif", None)])
    ]
    write_index(tmp_path, rows)
    facts = photos_of(tmp_path)
    assert facts == {
        "count": 3,
        "licenses": {"CC-BY-4.0": 3},
        "sources": {"gbif": 2, "folder": 1},
        "creators": 1,
        "nameless": 1,
    }
    card = model_card("m", SIZES, {"photos": facts})
    assert "gbif 2, folder 1" in card and "1 person, of 1 images the author is not known" in card


def test_the_card_refers_to_the_list_of_images_where_there_is_one(tmp_path):
    write_card(tmp_path, "m", SIZES, {})
    assert ATTRIBUTION not in (tmp_path / CARD_FILE).read_text()
    (tmp_path / ATTRIBUTION).write_text("")
    write_card(tmp_path, "m", SIZES, {})
    assert f"[{ATTRIBUTION}]({ATTRIBUTION})" in (tmp_path / CARD_FILE).read_text()


def test_a_license_cannot_break_the_table():
    card = model_card("m", SIZES, {"photos": {"count": 1, "licenses": {"a | b\n<script>": 1}}})
    assert "a \\| b &lt;script> 1" in card
