"""Seeds as people write them ("0-59", "1,5,7-9"), without numpy, so that a YAML file and a command line can be checked at once."""

from collections.abc import Sequence

from foxgan.errors import UsageError

MAX_SEED = 2**32 - 1  # numpy's RandomState takes no more
MAX_SEEDS = 1_000_000


def parse_seeds(value: str | int | Sequence[int]) -> list[int]:
    """The seeds named by a number, a list of numbers or text such as "0-59" or "1,5,7-9", in that order.

    A seed may come twice, as in a film that returns to it. Raises UsageError for anything else, for none and for more than a million.
    """
    if isinstance(value, str):
        seeds = [seed for part in value.split(",") for seed in _range(part.strip(), value)]
    elif _is_seed(value):
        seeds = [value]  # type: ignore[list-item]
    elif isinstance(value, list | tuple | range) and all(_is_seed(v) for v in value):
        seeds = list(value)
    else:
        raise _refusal(repr(value), repr(value))
    if not 1 <= len(seeds) <= MAX_SEEDS:
        raise UsageError(f"seeds {value!r}: {len(seeds)} seeds; give 1 to {MAX_SEEDS}")
    return seeds


def format_seeds(seeds: Sequence[int]) -> str:
    """The shortest text that `parse_seeds` reads as `seeds`: equal lists give equal text, however they were written."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def normal_seeds(value: str | int | Sequence[int]) -> str:
    """`value` in the one spelling of `format_seeds`, for a stage's field. Raises ValueError, as pydantic expects."""
    try:
        return format_seeds(parse_seeds(value))
    except UsageError as error:
        raise ValueError(str(error)) from None


def _range(part: str, whole: str) -> Sequence[int]:
    first, dash, last = (text.strip() for text in part.partition("-"))
    if not all(text.isascii() and text.isdigit() and len(text) <= 10 for text in ([first, last] if dash else [first])):
        raise _refusal(repr(part), repr(whole))
    numbers = range(int(first), int(last or first) + 1)
    if not numbers or numbers[-1] > MAX_SEED or len(numbers) > MAX_SEEDS:
        raise _refusal(repr(part), repr(whole))
    return numbers


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEED


def _refusal(part: str, whole: str) -> UsageError:
    where = "" if part == whole else f" in {whole}"
    return UsageError(f"{part}{where} names no seeds; write numbers from 0 to {MAX_SEED}, such as 0-59 or 1,5,7-9")
