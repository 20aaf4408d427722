"""Progress for people: a bar with the time left on a terminal, a line every few seconds elsewhere. All of it goes to stderr."""

from __future__ import annotations

import sys
import time
from typing import Any, Literal

from foxgan.report.words import duration

EVERY_SECONDS = 5.0


def make_progress(verbosity: int) -> Lines:
    """Lines or a bar, by where stderr goes; verbosity -1 shows warnings only, 1 shows everything."""
    return Bar(verbosity) if sys.stderr.isatty() and verbosity >= 0 else Lines(verbosity)


class Lines:
    """Messages, and a line of progress every few seconds: for logs, CI and pipes."""

    def __init__(self, verbosity: int) -> None:
        self.verbosity = verbosity
        self.description = ""
        self.total = self.done = 0.0
        self.note = ""
        self.begun = self.told = time.monotonic()

    def message(self, level: Literal["info", "warning", "debug"], text: str) -> None:
        """Show a message if the verbosity allows it."""
        if level == "warning" or self.verbosity > 0 or (level == "info" and self.verbosity == 0):
            self.write(f"warning: {text}" if level == "warning" else text)

    def write(self, text: str) -> None:
        """One line to stderr."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def start(self, description: str, total: float) -> None:
        """A count from 0 to `total` (0: nobody knows) begins."""
        self.description, self.total, self.done, self.note = description, total, 0.0, ""
        self.begun = self.told = time.monotonic()

    def advance(self, amount: float = 1, note: str = "") -> None:
        """`amount` more is done."""
        self.done += amount
        self.note = note or self.note
        now = time.monotonic()
        if self.verbosity >= 0 and now - self.told >= EVERY_SECONDS:
            self.told = now
            left = (now - self.begun) / self.done * max(self.total - self.done, 0) if self.done else 0
            end = f" of {self.total:.6g}, {duration(left)} left" if self.total else ""
            text = f"  {self.description}: {self.done:.6g}{end}"
            self.write(f"{text}, {self.note}" if self.note else text)

    def finish(self) -> None:
        """The count is over."""


class Bar(Lines):
    """The same as one moving bar."""

    def __init__(self, verbosity: int) -> None:
        super().__init__(verbosity)
        self.bar: Any = None

    def write(self, text: str) -> None:
        """One line above the bar."""
        if self.bar is None:
            super().write(text)
        else:
            self.bar.console.print(text, markup=False, highlight=False)

    def start(self, description: str, total: float) -> None:
        """Show a bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.finish()
        columns = (
            "  {task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.bar.add_task(description, total=total or None, note="")
        self.bar.start()

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update(self.task, advance=amount, **({"note": note} if note else {}))

    def finish(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
