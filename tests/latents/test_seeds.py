import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxgan.errors import UsageError
from foxgan.latents.seeds import MAX_SEED, format_seeds, normal_seeds, parse_seeds


@pytest.mark.parametrize(
    ("written", "seeds"),
    [
        ("0-3", [0, 1, 2, 3]),
        ("1,5,7-9", [1, 5, 7, 8, 9]),
        (" 2 , 4 - 5 ", [2, 4, 5]),
        ("7", [7]),
        (7, [7]),
        ([3, 1, 1], [3, 1, 1]),
        (str(MAX_SEED), [MAX_SEED]),
    ],
)
def test_seeds_can_be_written_as_range_list_or_number(written: str | int | list[int], seeds: list[int]) -> None:
    assert parse_seeds(written) == seeds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "a",
        "1-",
        "-1",
        "5-3",
        "1,,2",
        "1.5",
        "0-99999999",
        "4294967296",
        "²",
        [],
        [-1],
        [True],
        [1.5],
        1.5,
        None,
        -3,
    ],
)
def test_what_names_no_seeds_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(UsageError, match="seeds"):
        parse_seeds(written)
    with pytest.raises(ValueError, match="seeds"):
        normal_seeds(written)


@given(st.lists(st.integers(0, MAX_SEED), min_size=1, max_size=20))
def test_a_list_of_seeds_survives_being_written(seeds: list[int]) -> None:
    assert parse_seeds(format_seeds(seeds)) == seeds


def test_equal_seeds_have_one_spelling_so_that_they_share_a_cache_key() -> None:
    assert normal_seeds("0,1,2,3") == normal_seeds([0, 1, 2, 3]) == normal_seeds("0-3") == "0-3"
