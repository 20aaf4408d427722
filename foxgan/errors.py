"""All refusals of foxgan, as one tree. Each class carries the exit code that the command line ends with; none shows a traceback."""

from collections.abc import Iterable
from typing import Any


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """` (did you mean 'X'?)` where something valid is close, else nothing."""
    import difflib

    close = difflib.get_close_matches(word, list(valid), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


class FoxganError(Exception):
    """Something foxgan refuses or cannot do, told in words meant for the user: where, what was found, what to do."""

    exit_code = 1


class UsageError(FoxganError):
    """The command line or a Python call asks for something that does not exist."""

    exit_code = 2


class PipelineError(FoxganError):
    """A pipeline file is not valid; the message begins with file:line:column."""

    exit_code = 3


class StageError(FoxganError):
    """A stage could not finish its work."""


class DataError(FoxganError):
    """An input (picture, archive, dataset, weight file) is not what it should be."""


class UnsafeFileError(DataError):
    """A file from outside would run code, leave its folder or eat the memory if it were opened."""


class DownloadError(FoxganError):
    """A file cannot be had from the net now."""


class TooManyDropped(FoxganError):
    """A step finished, but dropped a larger share of its items than `max_dropped` allows."""

    exit_code = 4
    report: Any = None  # the RunReport of all that is done


class LockedError(FoxganError):
    """Another run is working on the same artifact, and the caller did not want to wait."""

    exit_code = 5
