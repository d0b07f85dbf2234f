# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces scalars of YAML by ``"${NAME}"``: the characters of the scalar, and no other byte.

Each scalar is found by the parser's own marks. Afterwards the old and the new text are parsed, and must be the same
sequence of events but for the wanted scalars: keys, anchors, aliases, tags and documents are events too.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from functools import cached_property
from typing import Any, Iterator, Mapping, Optional, Sequence, Union

from ..age_keys import required
from ..errors import ContinuityError
from ..fleet.yaml_document import MAX_BYTES, MAX_DEPTH, MAX_NODES

Path = tuple[Union[str, int], ...]
"""The number of the document in its file, then keys, and positions in lists."""

NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_REPLACEMENT = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*=)?\$\{[A-Z][A-Z0-9_]{0,63}\}")
_BLOCK_HEAD = re.compile(r"[|>][0-9+-]{0,2}[ \t]*(?:\r\n|\r|\n)")
_LINE = re.compile(r"\r\n|\r|\n")
_QUOTES = {"'": "'", '"': '"'}
_BOM = b"\xef\xbb\xbf"

KEY = "it is a key"
ANCHOR = "it has an anchor"
ANCHORED = "it stands below an anchor that is used in other places"
MERGE = "it stands in a merge (<<)"
TAG = "it has a tag, or stands below one"
TWICE = "a key of it stands there twice"
ODD_KEY = "it stands below a key that is no single value"
HEAD_COMMENT = "it is a block with a comment at its head"
UNSURE = "where it begins and ends is not sure"


class PlaceholderError(ContinuityError):
    """A file, or a scalar, that is left as it is. Nothing of what stands there is repeated."""


@dataclass(frozen=True)
class Scalar:
    """``start`` and ``end`` are offsets in the text of :class:`Scalars`; ``inner`` is where its text begins, behind
    a quote. ``plain`` says that its form decides what it is. ``refusal`` is why it cannot be replaced."""

    path: Path
    value: str = field(repr=False)
    start: int
    end: int
    inner: int
    style: str
    plain: bool
    is_key: bool
    refusal: Optional[str] = None


@dataclass(frozen=True)
class Scalars:
    """Of one file, in the order in which they stand there. ``text`` is without a byte order mark."""

    text: str = field(repr=False)
    all: tuple[Scalar, ...] = field(repr=False)

    def at(self, offset: int) -> Optional[Scalar]:
        """The scalar that covers a character."""
        place = bisect.bisect_right(self._starts, offset) - 1
        return self.all[place] if place >= 0 and offset < self.all[place].end else None

    def values(self) -> dict[Path, Scalar]:
        """Those that are no keys, and whose path leads to them alone."""
        return {one.path: one for one in self.all if not one.is_key and one.refusal not in (TWICE, ODD_KEY)}

    def line(self, offset: int) -> int:
        """The line of a character, from 1."""
        return bisect.bisect_right(self.lines, offset)

    @cached_property
    def lines(self) -> list[int]:
        """Where each line begins; lines end with LF, CRLF or CR."""
        return [0, *(found.end() for found in _LINE.finditer(self.text))]

    @cached_property
    def _starts(self) -> list[int]:
        return [scalar.start for scalar in self.all]


def scalars(content: bytes, file: str) -> Scalars:
    """Every scalar of a file. Raises PlaceholderError for what is not UTF-8, not YAML, or too large."""
    text, events = _events(content, file)
    return Scalars(text, _Walk(text).scalars(events))


def replaced(content: bytes, file: str, replacements: Mapping[Path, str]) -> bytes:
    """The content with each of these scalars replaced; proven. Raises PlaceholderError when one cannot be."""
    text, events = _events(content, file)
    found = Scalars(text, _Walk(text).scalars(events))
    values = found.values()
    spans: list[tuple[int, int, str]] = []
    for path, replacement in replacements.items():
        scalar = values.get(path)
        if scalar is None:
            raise PlaceholderError("a value that was to be replaced is not there", where=file)
        if not _REPLACEMENT.fullmatch(replacement):
            raise PlaceholderError("this is no placeholder", where=f"{file}:{found.line(scalar.start)}")
        if scalar.refusal:
            raise PlaceholderError(scalar.refusal, where=f"{file}:{found.line(scalar.start)}")
        spans.append((scalar.start, scalar.end, replacement))
    parts: list[str] = []
    position = 0
    for start, end, replacement in sorted(spans):
        parts += [text[position:start], f'"{replacement}"']
        position = end
    after = "".join([*parts, text[position:]])
    new = content[: len(content) - len(text.encode())] + after.encode()
    wanted = {start: replacement for start, _end, replacement in spans}
    if _described(events, wanted) != _described(_events(new, file)[1], {}):
        raise PlaceholderError("the file would mean something else elsewhere, too; it was left as it is", where=file)
    return new


def _events(content: bytes, file: str) -> tuple[str, list[Any]]:
    yaml = required("yaml", "Reading YAML", "PyYAML")
    if len(content) > MAX_BYTES:
        raise PlaceholderError(f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB", where=file)
    reason = ""
    try:
        text = content[len(_BOM) if content.startswith(_BOM) else 0 :].decode()
        return text, list(_bounded(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), file))
    except UnicodeDecodeError:
        reason = "the file is not UTF-8"
    except yaml.MarkedYAMLError as error:
        # The error itself repeats the line.
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        reason = f"the file is not YAML{line}"
    except yaml.YAMLError:
        reason = "the file holds characters that YAML does not have"
    raise PlaceholderError(reason, where=file)


def _bounded(events: Iterator[Any], file: str) -> Iterator[Any]:
    depth = 0
    for count, event in enumerate(events):
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        # Two of the levels are the stream and the document.
        if depth > MAX_DEPTH + 2 or count > MAX_NODES:
            raise PlaceholderError("the file holds too many values, or too many levels of them", where=file)
        yield event


def _described(events: Sequence[Any], wanted: Mapping[int, str]) -> list[tuple[Any, ...]]:
    """What the events say, without their places; those that begin at a ``wanted`` offset as they are to become."""
    said: list[tuple[Any, ...]] = []
    for event in events:
        kind = type(event).__name__
        replacement = wanted.get(event.start_mark.index) if kind == "ScalarEvent" else None
        if replacement is not None:
            said.append((kind, None, None, (False, True), replacement))
        elif kind == "ScalarEvent":
            said.append((kind, event.anchor, event.tag, event.implicit, event.value))
        else:
            names = ("anchor", "tag", "implicit", "explicit", "version", "tags")
            said.append((kind, *(getattr(event, name, None) for name in names)))
    return said


@dataclass
class _Open:
    """A collection whose end has not come. ``key`` is the one that waits for its value."""

    path: Path
    is_mapping: bool
    reason: Optional[str]
    anchors: frozenset[str]
    key: Optional[str] = None
    has_key: bool = False
    count: int = 0
    keys: set[str] = field(default_factory=set)


class _Walk:
    """From events to scalars with their paths, without recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[tuple[Scalar, frozenset[str]]] = []
        self.stack: list[_Open] = []
        self.twice: set[Path] = set()
        self.used: set[str] = set()
        self.documents = 0

    def scalars(self, events: Sequence[Any]) -> tuple[Scalar, ...]:
        for event in events:
            kind = type(event).__name__
            if kind == "ScalarEvent":
                self._scalar(event)
            elif kind == "AliasEvent":
                self.used.add(event.anchor)
                self._place(None)
            elif kind in ("MappingStartEvent", "SequenceStartEvent"):
                self._open(event, kind == "MappingStartEvent")
            elif kind in ("MappingEndEvent", "SequenceEndEvent"):
                self.stack.pop()
            elif kind == "DocumentEndEvent":
                self.documents += 1
        return tuple(self._judged(scalar, anchors) for scalar, anchors in self.found)

    def _judged(self, scalar: Scalar, anchors: frozenset[str]) -> Scalar:
        """With what only the end of the file tells."""
        reason = scalar.refusal
        if self.twice and any(scalar.path[:length] in self.twice for length in range(1, len(scalar.path) + 1)):
            reason = TWICE
        elif reason is None and anchors & self.used:
            reason = ANCHORED
        return scalar if reason == scalar.refusal else with_fields(scalar, refusal=reason)

    def _place(self, key: Optional[str]) -> tuple[Path, bool, Optional[str]]:
        """Where the next node stands: its path, whether it is a key, and why nothing there can be replaced.
        ``key`` is its text if it is a scalar."""
        if not self.stack:
            return (self.documents,), False, None
        top = self.stack[-1]
        if not top.is_mapping:
            top.count += 1
            return (*top.path, top.count - 1), False, top.reason
        if not top.has_key:
            top.has_key, top.key = True, key
            if key is not None and key in top.keys:
                self.twice.add((*top.path, key))
            top.keys |= {key} if key is not None else set()
            return (*top.path, key if key is not None else ""), True, KEY
        name, top.has_key = top.key, False
        own = ODD_KEY if name is None else MERGE if name == "<<" else None
        return (*top.path, name or ""), False, top.reason or own

    def _open(self, event: Any, is_mapping: bool) -> None:
        path, is_key, reason = self._place(None)
        above = self.stack[-1].anchors if self.stack else frozenset()
        anchors = above | {event.anchor} if event.anchor else above
        reason = ODD_KEY if is_key else reason or (TAG if event.tag is not None else None)
        self.stack.append(_Open(path, is_mapping, reason, anchors))

    def _scalar(self, event: Any) -> None:
        above = self.stack[-1].anchors if self.stack else frozenset()
        path, is_key, reason = self._place(event.value)
        start, end = event.start_mark.index, event.end_mark.index
        style = event.style or ""
        inner = start + 1 if style in _QUOTES else start
        if reason is None:
            reason = ANCHOR if event.anchor else TAG if event.tag is not None else None
        if reason is None:
            end, reason = self._span(start, end, style, event.value)
        found = Scalar(path, event.value, start, end, inner, style, bool(event.implicit[0]), is_key, reason)
        self.found.append((found, above))

    def _span(self, start: int, end: int, style: str, value: str) -> tuple[int, Optional[str]]:
        """Where the scalar ends, and why it is not sure that it does."""
        written = self.text[start:end]
        if style in ("|", ">"):
            # The marks of a block reach to the next line that is not of it.
            trimmed = written.rstrip(" \t\r\n")
            if not _BLOCK_HEAD.match(written):
                return end, HEAD_COMMENT
            return start + len(trimmed), None if "\n" in trimmed or "\r" in trimmed else UNSURE
        if style in _QUOTES:
            sure = len(written) > 1 and written[0] == written[-1] == style
        else:
            sure = bool(written) and written == written.strip() and written.split() == value.split()
        return end, None if sure else UNSURE
