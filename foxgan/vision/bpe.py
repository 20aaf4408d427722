"""Text to the token numbers of CLIP (byte pair encoding, Sennrich et al. 2016), which MobileCLIP uses as well.

Only the table of merges is taken from the package clip-anytorch: importing it needs a module that setuptools no longer has.
"""

from __future__ import annotations

import gzip
import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from foxgan.errors import DataError, StageError, UsageError

MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"
MERGES = 48_894  # of them CLIP was trained with: 49,152 tokens without the bytes and the two marks
CONTEXT = 77
END = "</w>"
ENDINGS = re.compile(r"'(?:s|t|re|ve|m|ll|d)")


class Tokenizer:
    """The tokens of CLIP for merges that are listed best first."""

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        self.letters = _letters_of_bytes()
        words = [*self.letters.values(), *(letter + END for letter in self.letters.values()), *map("".join, merges)]
        self.numbers = {word: number for number, word in enumerate(words)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.start, self.end = len(words), len(words) + 1
        self.size = len(words) + 2

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text between the marks of its start and its end. Raises UsageError for one that is too long."""
        cleaned = " ".join(html.unescape(unicodedata.normalize("NFC", text)).lower().split())
        found = [self.numbers[part] for word in _words(cleaned) for part in self._merged(word)]
        if len(found) > CONTEXT - 2:
            raise UsageError(
                f"prompt {text[:60]!r}: {len(found)} tokens long; text encoders read {CONTEXT - 2}, so say it shorter"
            )
        return [self.start, *found, self.end]

    def _merged(self, word: str) -> list[str]:
        parts = [self.letters[byte] for byte in word.encode()]
        parts[-1] += END
        while len(parts) > 1:
            best = min(zip(parts, parts[1:], strict=False), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            joined: list[str] = []
            for part in parts:
                if joined and (joined[-1], part) == best:
                    joined[-1] += part
                else:
                    joined.append(part)
            parts = joined
        return parts


def _words(text: str) -> Iterator[str]:
    """Runs of letters, single digits, runs of other signs, and English endings such as 's."""
    position = 0
    while position < len(text):
        ending = ENDINGS.match(text, position)
        kind = _kind(text[position])
        stop = ending.end() if ending else position + 1
        while not ending and kind in "LO" and stop < len(text) and _kind(text[stop]) == kind:
            stop += 1
        if kind != " ":
            yield text[position:stop]
        position = stop


def _kind(sign: str) -> str:
    """L for a letter, N for a digit, a space, or O for all others."""
    category = unicodedata.category(sign)[0]
    return " " if sign.isspace() else category if category in "LN" else "O"


def _letters_of_bytes() -> dict[int, str]:
    """A visible letter for each byte; those that are visible themselves come first, as in the table of tokens."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(others)}


@cache
def clip_tokenizer() -> Tokenizer:
    """The tokenizer with the installed table. Raises StageError where it is not installed."""
    spec = find_spec("clip")
    folders = spec.submodule_search_locations if spec else None
    path = Path(next(iter(folders or [""]))) / MERGES_FILE
    if not path.is_file():
        raise StageError(
            "prompts are read with CLIP's vocabulary, which is not installed; `pip install 'foxgan[text]'`, or give a file of "
            "embeddings as `encoder`"
        )
    try:
        lines = gzip.decompress(path.read_bytes()).decode().split("\n")[1 : MERGES + 1]
        return Tokenizer([(first, second) for first, second in (line.split() for line in lines if line)])
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: not the vocabulary of CLIP ({error}); install clip-anytorch again") from error
