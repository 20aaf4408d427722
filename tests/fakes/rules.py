"""What tests switch on: rules, which break the answers to some addresses, and switches, which change how a service behaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any


@dataclass
class Rule:
    """A fault for the addresses that match `path`: `host/path`, a glob; one that begins with a slash is meant for all hosts.

    The first `after` matching requests are spared, then it holds for `times` of them (None: for ever). `seen` counts them all.
    """

    path: str
    fault: str
    times: int | None = None
    after: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    since: float | None = None  # when it was first met, by the fake clock

    def matches(self, address: str) -> bool:
        pattern = f"*{self.path}" if self.path.startswith("/") else self.path
        return fnmatchcase(address, pattern) or fnmatchcase(address.partition("?")[0], pattern)

    def meet(self, now: float) -> bool:
        """Count a matching request; whether it is to suffer."""
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.seen > self.after + self.times):
            return False
        self.since = now if self.since is None else self.since
        return True


class Rules:
    """All rules; they hold in the order in which they were made."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        self._rules.remove(rule)

    def clear(self) -> None:
        self._rules = []

    def meet(self, address: str, now: float) -> list[Rule]:
        """Those that a request to `address` suffers from."""
        return [rule for rule in list(self._rules) if rule.matches(address) and rule.meet(now)]


class Switches:
    """Named behaviours, each on for some requests or until it is switched off."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._on: dict[str, int | None] = {}

    def on(self, name: str, times: int | None = None) -> None:
        if name not in self._names:
            raise KeyError(f"{name}: no such switch; there are {', '.join(self._names)}")
        self._on[name] = times

    def off(self, name: str) -> None:
        self._on.pop(name, None)

    def clear(self) -> None:
        self._on = {}

    def take(self, name: str) -> bool:
        """Whether this request meets the switch."""
        if name not in self._on:
            return False
        left = self._on[name]
        if left is not None:
            self._on[name] = left - 1
            if left <= 1:
                self.off(name)
            return left > 0
        return True
