"""The language in which augmentations are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxgan.errors import UsageError
from foxgan.gan.augpipes import AUGPIPES, OPS, normal_augpipe, parse_augpipe
from foxgan.gan.config import TrainConfig


@pytest.mark.parametrize("name", AUGPIPES)
def test_a_published_set_is_all_its_transforms_at_full_strength(name):
    assert parse_augpipe(name) == dict.fromkeys(AUGPIPES[name], 1.0)
    assert normal_augpipe(name) == name


@pytest.mark.parametrize("op", OPS)
def test_every_transform_stands_alone_with_its_multiplier(op):
    assert parse_augpipe(op) == {op: 1.0}
    assert parse_augpipe(f"{op}=0.25") == {op: 0.25}


def test_later_parts_win_and_zero_leaves_out():
    assert parse_augpipe("blit,xflip=0.5, xint = 0") == {"xflip": 0.5, "rotate90": 1.0}
    assert set(parse_augpipe("bg,color=0.5,cutout")) == {*AUGPIPES["bgc"], "cutout"}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("color,blit,geom", "bgc"),
        ("bg, bgc", "bgc"),
        ("rotate,xflip", "xflip,rotate"),
        ("cutout=0.50,noise=1", "noise,cutout=0.5"),
        ("bgcf,imgfilter=0", "bgc"),
        ("imgfilter", "filter"),
        (" cutout , geom,blit, color = .5", "bg,color=0.5,cutout"),
        ("bgc,brightness=0.123456789", "bg,brightness=0.123456789,contrast,lumaflip,hue,saturation"),
        (["bg", "cutout"], "bg,cutout"),
        ({"bg": 1, "color": 0.5, "cutout": 1.0}, "bg,color=0.5,cutout"),
    ],
)
def test_equal_settings_have_one_spelling(text, normal):
    assert normal_augpipe(text) == normal
    assert TrainConfig(augpipe=text).augpipe == normal


@given(st.dictionaries(st.sampled_from(OPS), st.sampled_from([0.25, 0.5, 1.0]) | st.floats(1e-300, 1), min_size=1))
def test_the_normal_spelling_says_the_same_and_is_its_own(multipliers):
    normal = normal_augpipe(multipliers)
    assert parse_augpipe(normal) == multipliers
    assert normal_augpipe(normal) == normal
    assert normal_augpipe(dict(reversed(multipliers.items()))) == normal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bcg", "'bcg' does not exist.*did you mean"),
        ("", "'' does not exist"),
        ("bgc,", "'' does not exist"),
        ("xflip=2x", "a multiplier is a number from 0 to 1"),
        ("xflip=1.01", "a multiplier is a number from 0 to 1"),
        ("xflip=-1", "a multiplier is a number from 0 to 1"),
        ("xflip=nan", "a multiplier is a number from 0 to 1"),
        ("xflip=", "a multiplier is a number from 0 to 1"),
    ],
)
def test_what_names_no_transform_is_refused(text, words):
    with pytest.raises(UsageError, match=words):
        parse_augpipe(text)


def test_a_pipe_without_transforms_is_told_what_to_say_instead():
    with pytest.raises(ValueError, match="aug: noaug"):
        TrainConfig(augpipe="xflip=0")


def test_only_text_lists_and_mappings_name_transforms():
    with pytest.raises(ValueError, match="valid string"):
        TrainConfig(augpipe=5)
    with pytest.raises(ValueError, match="'hue=True': a multiplier is a number"):
        TrainConfig(augpipe={"hue": True})
