"""YOLO's label lines: boxes out of good ones, a count of bad ones."""

import pytest

from foxgan.errors import DataError
from foxgan.sources.yolo import label_folder, read_class_names, read_heads, read_point_shape, split_of


def test_boxes_come_in_pixels_with_their_class():
    heads, malformed = read_heads(b"0 0.5 0.5 0.2 0.4\n\n1 0.1 0.1 0.4 0.2\r\n", 200, 100, {0: "head", 1: "tail"})
    assert malformed == 0
    assert heads == [{"box": [80, 30, 120, 70], "class": "head"}, {"box": [0, 0, 60, 20], "class": "tail"}]


@pytest.mark.parametrize(
    "line",
    ["0 .5 .5 .1", "0 .5 .5 .1 .1 .1", "head .5 .5 .1 .1", "0 1.5 .5 .1 .1", "0 .5 .5 -.1 .1", "0 .5 .5 0 .1",
     "0 nan .5 .1 .1", "0 inf .5 .1 .1", "7 .5 .5 .1 .1", "-1 .5 .5 .1 .1", "\x00\x01"],
)  # fmt: skip
def test_malformed_lines_are_counted_and_the_rest_is_used(line):
    heads, malformed = read_heads(f"{line}\n0 .5 .5 .1 .1".encode(), 100, 100, {0: "head"})
    assert (len(heads), malformed) == (1, 1)


def test_without_names_the_number_is_the_class():
    assert read_heads(b"7 .5 .5 .1 .1", 100, 100, {})[0][0]["class"] == "7"


def test_names_may_be_a_list_or_a_mapping():
    assert read_class_names(b"names: [a, b]", "x") == read_class_names(b"names: {0: a, 1: b}", "x") == {0: "a", 1: "b"}
    assert read_class_names(b"names: [no, 7]", "x") == {0: "no", 1: "7"}
    assert read_class_names(b"", "x") == {}


BOMB = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30)
)
MERGES = b"a0: &a0 {1: x}\n" + b"".join(
    b"a%d: &a%d {<<: [%s]}\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30)
)


@pytest.mark.parametrize(
    "text",
    [b"names: 3", b"names: {a: b}", b"names: [", b"- a", b"!!python/object/apply:os.getpid []", b"names:", b"names: [[a]]",
     b"names: {.inf: a}", b"names: " + b"[" * 10_000, BOMB + b"names: [*a29]", MERGES + b"names: [*a29]",
     b"names: [" + b"a," * 100_001 + b"]", b"names: {!!bool maybe: a}"],
)  # fmt: skip
def test_other_yaml_is_refused_by_name(text):
    with pytest.raises(DataError, match="data.yaml"):
        read_class_names(text, "data.yaml")


def test_the_last_folder_called_images_counts():
    assert label_folder("images/set/images/train") == "images/set/labels/train"
    assert label_folder("photos") is None
    assert label_folder("") is None
    assert [split_of(folder) for folder in ("a/train", "valid", "")] == ["train", "val", None]


# Points

POSE = b"0 .5 .5 .2 .4  .4 .45 2  .6 .45 1  0 0 0"


def test_points_come_in_pixels_and_those_that_are_not_there_as_none():
    (head,), malformed = read_heads(POSE, 200, 100, {0: "head"}, (3, 3))
    assert malformed == 0
    assert head == {"box": [80, 30, 120, 70], "class": "head", "keypoints": [80, 45, 120, 45, None, None]}


def test_two_numbers_for_a_point_are_enough_if_data_yaml_says_so():
    ((head,), _) = read_heads(b"0 .5 .5 .2 .4 .4 .45 0 0", 200, 100, {0: "head"}, (2, 2))
    assert head["keypoints"] == [80, 45, None, None]


def test_a_head_without_any_point_has_none_and_may_stand_among_others():
    heads, malformed = read_heads(b"0 .5 .5 .2 .4\n0 .5 .5 .2 .4 " + b"0 0 0 " * 3 + b"\n" + POSE, 200, 100, {}, (3, 3))
    assert malformed == 0 and ["keypoints" in head for head in heads] == [False, False, True]


@pytest.mark.parametrize("points", [None, (2, 3), (3, 2)])
def test_points_that_data_yaml_does_not_announce_make_a_line_malformed(points):
    assert read_heads(POSE, 200, 100, {}, points) == ([], 1)


@pytest.mark.parametrize("point", ["1.2 .5 2", "-.1 .5 1", "nan .5 2", ".5 .5 nan"])
def test_points_outside_the_photo_or_none_at_all_make_a_line_malformed(point):
    assert read_heads(f"0 .5 .5 .2 .4 {point}".encode(), 200, 100, {}, (1, 3)) == ([], 1)


def test_the_shape_of_points_is_read_from_data_yaml():
    assert read_point_shape(b"names: [a]\nkpt_shape: [3, 3]", "x") == (3, 3)
    assert read_point_shape(b"names: [a]", "x") is None and read_point_shape(b"", "x") is None


@pytest.mark.parametrize("shape", ["3", "[3]", "[3, 4]", "[0, 3]", "[a, b]", "[1000000, 3]", "{a: b}", "[[3], 3]"])
def test_another_shape_of_points_is_refused_by_name(shape):
    with pytest.raises(DataError, match=r"data\.yaml: not a YOLO data file .*kpt_shape"):
        read_point_shape(f"kpt_shape: {shape}".encode(), "data.yaml")
