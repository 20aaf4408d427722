"""HTML as a stream of tags and text, read once from front to back.

A tokenizer of our own, because strangers write these pages: its time grows with their length alone. Python's html.parser needs eight
seconds for 100 kB of `<!--` and four times that for twice as much, and parsers that build a tree fare so with `<div>`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
MOST = 10_000  # characters of what is made plain
_RAW = {
    name: re.compile(f"</{name}", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "iframe", "noembed", "noframes", "xmp")
}
_NAME = re.compile(r"/?([A-Za-z][^\s/>]*+)")
_ATTRIBUTE = re.compile(r"""[\s/]*+([^\s/>][^\s/>=]*+)(?:\s*+=\s*+("[^"]*"|'[^']*'|[^\s>"'][^\s>]*+)?)?""")
_BREAKS = frozenset({"br", "p", "div", "li", "tr", "td", "th", "hr", "dd", "dt"})


@dataclass(frozen=True)
class Tag:
    """`name` and the names of `attributes` are in small letters."""

    name: str
    closing: bool
    attributes: Mapping[str, str]


def tokens(text: str) -> Iterator[Tag | str]:
    """Tags and the text between them, without comments, scripts and the like; what is never closed ends the page, as in browsers."""
    at = 0
    while (start := text.find("<", at)) >= 0:
        if start > at:
            yield unescaped(text[at:start])
        name = _NAME.match(text, start + 1)
        if name is not None:
            tag, at = _tag(text, name)
            if at < 0:
                return
            yield tag
            if tag.name in _RAW and not tag.closing:
                end = _RAW[tag.name].search(text, at)
                if end is None:
                    return
                at = end.start()
        elif text[start + 1 : start + 2] in ("!", "?", "/"):
            end_mark = "-->" if text.startswith("<!--", start) else ">"
            found = text.find(end_mark, start + 2)
            if found < 0:
                return
            at = found + len(end_mark)
        else:
            yield "<"
            at = start + 1
    if at < len(text):
        yield unescaped(text[at:])


def _tag(text: str, name: re.Match[str]) -> tuple[Tag, int]:
    """The tag, and where the text goes on after it: -1 if it is never closed."""
    at = name.end()
    attributes: dict[str, str] = {}
    while found := _ATTRIBUTE.match(text, at):
        at = found.end()
        value = found[2] or ""
        attributes.setdefault(found[1].lower(), unescaped(value[1:-1] if value[:1] in ('"', "'") else value))
    end = text.find(">", at)
    return Tag(name[1].lower(), name[0].startswith("/"), attributes), end + 1 if end >= 0 else -1


def unescaped(text: str) -> str:
    """`text` with its `&amp;` and the like resolved."""
    try:
        return html.unescape(text)
    except ValueError:  # a number of more digits than Python takes
        return text


def plain(markup: str) -> str:
    """What a reader sees of `markup`, in one line; of its first MOST characters."""
    parts: list[str] = []
    hidden = 0  # elements that are open within one that is not shown, itself included
    for token in tokens(markup[:MOST]):
        if isinstance(token, str):
            parts.append("" if hidden else token)
            continue
        if token.name in _BREAKS:
            parts.append(" ")
        if token.name not in VOID and (hidden or _is_hidden(token)):
            hidden += -1 if token.closing else 1
    return " ".join("".join(parts).split())


def _is_hidden(tag: Tag) -> bool:
    style = re.sub(r"\s", "", tag.attributes.get("style", "").lower())
    return not tag.closing and "display:none" in style
