"""Whatever a stage raises, in words and with the right exit code; a defect leaves its traceback in a file."""

from __future__ import annotations

import contextlib
import errno
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from foxgan.errors import FoxganError, PipelineError, StageError, UsageError
from foxgan.pipeline.folder import error_log

FULL = "the disk of {} is full; free some space and run the same command again, it goes on from here"


@contextlib.contextmanager
def explained(what: str, folder: Path) -> Iterator[None]:
    """Turns what `what` raises while it works in `folder` into a FoxganError; what is finished is untouched by any of it."""
    try:
        yield
    except FoxganError as error:
        message = str(error)
        # at work, a refusal of params is a failed stage: the command and the file were found right before
        kind = StageError if isinstance(error, UsageError | PipelineError) else type(error)
        raise kind(message if message.startswith(what) else f"{what}: {message}") from error
    except OSError as error:
        raise StageError(f"{what}: {explain(error, folder)}") from error
    except MemoryError as error:
        raise StageError(f"{what}: out of memory; use smaller batches or fewer workers, then run again") from error
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # pydantic takes it for an error of what it has called
            raise error.__cause__ from None
        if os.strerror(errno.ENOSPC) in str(error):  # libraries have their own errors for it
            raise StageError(f"{what}: {FULL.format(folder)}") from error
        log = error_log(folder)
        with contextlib.suppress(OSError):
            log.write_text(traceback.format_exc(), encoding="utf-8")
        raise StageError(
            f"{what}: unexpected {type(error).__name__}: {error}. This is a defect of foxgan; please report it with {log}"
        ) from error


def explain(error: OSError, folder: Path) -> str:
    """What an error of the operating system means for the user who works in `folder`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error):
        return FULL.format(folder)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what = f"no right to read or write it ({error.strerror})"
        return f"{error.filename or folder}: {what}; check its owner, or choose another --workspace"
    return f"{error.filename or folder}: {error.strerror or error}"
