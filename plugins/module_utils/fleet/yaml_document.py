# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML that remembers where everything stood, read from bytes that nobody vouches for.

Composed from PyYAML's events (its C parser where the host has it) because the ordinary loaders
drop line numbers, keep the last of two equal keys in silence, expand anchors without end, and
recurse as deep as a file wants. Nothing here raises for what is wrong in a file: it becomes a
:class:`Fault`, and a document with a fatal fault has no root.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Iterator, NamedTuple, Optional, Union

from ..errors import ContinuityError
from .credentials import shown, shown_text
from .model import Location
from .yaml_scalars import UNSUPPORTED_TAG, scalar_value

try:
    import yaml
except ImportError:  # parse() says what is missing; whoever only imports this needs no PyYAML
    yaml = None  # type: ignore[assignment]

MAX_BYTES = 4 * 1024 * 1024
"""Largest file that is read: room for 15,000 agents, and a bounded time in the pure parser."""

MAX_DEPTH = 64
"""Deepest nesting, counted through aliases; a startup config needs about ten."""

MAX_NODES = 400_000
"""Most nodes of a document, counted as if every alias were written out."""

MAX_FAULTS = 100
"""After so many faults the rest of a file is not worth a line each."""

_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")
"""What an escape can write and no path, environment or UTF-8 text can hold."""

_CONFLICT = re.compile(r"(?:<{7}|>{7})(?: |\Z)|={7}\Z")
"""What version control leaves at the start of a line; looked for only where the YAML does not parse."""

_BARE_EXPRESSION = re.compile(r"[:,\[{]\s*\$\{")

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Fault(NamedTuple):
    """One thing wrong with the YAML itself. ``rule`` is ``G-parse`` or ``G-duplicate-key``; ``key``
    is the dotted path of the mapping entry concerned."""

    rule: str
    message: str
    line: int
    expected: str = ""
    found: str = ""
    key: str = ""


class Entry(NamedTuple):
    """One ``key: value`` of a mapping; ``line`` is the key's."""

    key: str
    line: int
    node: Node


@dataclass(eq=False)
class Node:
    """A scalar, a sequence or a mapping, with the lines that it covers.

    ``value`` is a scalar's value as PyYAML's safe loader would make it, ``text`` how it was written.
    ``shadowed`` holds the earlier ones of duplicate entries, which every loader would lose.
    ``size`` and ``depth`` count aliases as if they were written out.
    """

    kind: str
    file: str
    line: int
    value: Union[bool, int, float, str, None] = None
    text: str = ""
    quoted: bool = False
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    shadowed: list[Entry] = field(default_factory=list)
    size: int = 1
    depth: int = 1

    @property
    def location(self) -> Location:
        return Location(self.file, self.line)

    def get(self, key: str) -> Optional[Node]:
        entry = self.entries.get(key)
        return entry.node if entry else None

    def location_of(self, key: str) -> Location:
        """Where the key stands, or the node itself when there is no such key."""
        entry = self.entries.get(key)
        return Location(self.file, entry.line) if entry else self.location

    def inside(self) -> Iterator[Node]:
        """Everything directly inside, shadowed entries included."""
        for entry in [*self.shadowed, *self.entries.values()]:
            yield entry.node
        yield from self.items

    def plain(self) -> Any:
        """The same as dicts, lists and scalars (bounded by MAX_NODES and MAX_DEPTH)."""
        if self.kind == "mapping":
            return {key: entry.node.plain() for key, entry in self.entries.items()}
        if self.kind == "sequence":
            return [item.plain() for item in self.items]
        return self.value

    def describe(self) -> str:
        """What stands there, in a few words, for a message."""
        if self.kind == "mapping":
            return f"a mapping of {len(self.entries)} keys"
        if self.kind == "sequence":
            return f"a list of {len(self.items)} items"
        if self.value is None:
            return "nothing (null)"
        text = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        kind = {bool: "boolean", int: "integer", float: "number"}.get(type(self.value), "string")
        return f"{kind} {text!r}" if kind == "string" else f"{kind} {text}"


@dataclass(frozen=True)
class Document:
    """``root`` is None when the file could not be read as one YAML document."""

    root: Optional[Node]
    faults: tuple[Fault, ...] = ()


def parse(content: bytes, file: str) -> Document:
    """Read one YAML document. ``file`` is only the name used in locations."""
    if yaml is None:
        raise ContinuityError("PyYAML is needed to read startup configs", fix="Install the Python package PyYAML")
    if len(content) > MAX_BYTES:
        return Document(None, (too_large(len(content)),))
    text, fault = _decode(content)
    if fault:
        return Document(None, (fault,))
    return _Composer(file).compose(text)


def too_large(size: int) -> Fault:
    return Fault(
        "G-parse",
        f"the file is too large to be a startup config; nothing of it was read (limit {MAX_BYTES} bytes)",
        1,
        f"at most {MAX_BYTES} bytes",
        f"{size} bytes",
    )


def _decode(content: bytes) -> tuple[str, Optional[Fault]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig reports offsets without the byte order mark that it has skipped
        start = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        line = content.count(b"\n", 0, start) + 1
        found = f"byte 0x{content[start]:02x} at offset {start}"
        return "", Fault("G-parse", f"the file is not UTF-8 ({found}); nothing of it was read", line, "UTF-8", found)
    match = _UNPRINTABLE.search(text)
    if match:
        line = text.count("\n", 0, match.start()) + 1
        found = f"control character U+{ord(match.group()):04X}"
        message = f"{found} is not allowed in YAML; nothing of the file was read"
        return "", Fault("G-parse", message, line, "printable text", found)
    return text, None


class _Refused(Exception):
    """Composing stops here; the fault says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass
class _Open:
    """A collection whose end has not been read yet, with the key that waits for its value."""

    node: Node
    anchor: Optional[str]
    key: Optional[str] = None
    key_line: int = 0
    key_quoted: bool = False
    merges: list[Node] = field(default_factory=list)


class _Composer:
    """Turns the events of one document into nodes, without recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.anchors: dict[str, Node] = {}
        self.stack: list[_Open] = []
        self.root: Optional[Node] = None
        self.documents = 0
        self.count = 0

    def compose(self, text: str) -> Document:
        fatal: Optional[Fault] = None
        try:
            events: Iterator[Any] = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            for event in events:
                self._take(event)
                if len(self.faults) >= MAX_FAULTS:
                    message = f"more than {MAX_FAULTS} faults; the rest of the file was not read"
                    raise _Refused(Fault("G-parse", message, event.start_mark.line + 1))
        except yaml.MarkedYAMLError as error:
            fatal = _syntax_fault(error, text)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, max(0, error.position)) + 1
            fatal = Fault("G-parse", f"unreadable character: {error.reason}", line, "printable text")
        except _Refused as refused:
            fatal = refused.fault
        if fatal:
            return Document(None, (*self.faults, fatal))
        if any(fault.rule == "G-parse" for fault in self.faults):
            return Document(None, tuple(self.faults))
        return Document(self.root, tuple(self.faults))

    def _take(self, event: Any) -> None:
        kind = type(event)
        line = event.start_mark.line + 1
        if kind is yaml.ScalarEvent:
            self._close(self._scalar(event, line), event.anchor)
        elif kind is yaml.AliasEvent:
            self._attach(self._alias(event.anchor, line), line)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._open(event, line)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            opened = self.stack.pop()
            self._merge(opened)
            self._close(opened.node, opened.anchor)
        elif kind is yaml.DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                self._fault("a second YAML document starts here", line, "one document", "'---' again")

    def _fault(self, message: str, line: int, expected: str = "", found: str = "") -> None:
        self.faults.append(Fault("G-parse", message, line, expected, found, self._path()))

    def _path(self, last: str = "") -> str:
        keys = [opened.key or "" for opened in self.stack if opened.node.kind == "mapping"]
        return ".".join(key for key in [*keys[: len(keys) - bool(last)], last] if key)

    def _scalar(self, event: Any, line: int) -> Node:
        quoted = bool(event.style)  # the C parser says "" for plain, the other None
        value, fault = scalar_value(event.value, event.tag, plain=not quoted and bool(event.implicit[0]))
        unfit = _UNENCODABLE.search(event.value)
        if fault:
            self._fault(fault, line, found=self._shown(event.value)[:60])
        elif unfit:
            self._fault(f"the text holds U+{ord(unfit.group()):04X}", line, "text without NUL and lone surrogates")
        return Node("scalar", self.file, line, value=value, text=event.value, quoted=quoted)

    def _shown(self, text: str) -> str:
        """What stands there, unless its key says that nobody may see it."""
        name = self.stack[-1].key if self.stack else None
        return str(shown(text, name or ""))

    def _alias(self, anchor: str, line: int) -> Node:
        if anchor in self.anchors:
            return self.anchors[anchor]
        if any(opened.anchor == anchor for opened in self.stack):
            self._fault(f"alias *{anchor} stands inside of what it refers to", line, "an anchor that is complete")
        else:
            self._fault(f"alias *{anchor} refers to an anchor that does not exist", line, f"&{anchor} before it")
        return Node("scalar", self.file, line)

    def _open(self, event: Any, line: int) -> None:
        kind = "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
        standard = "tag:yaml.org,2002:map" if kind == "mapping" else "tag:yaml.org,2002:seq"
        if event.tag not in (None, "!", standard):
            self._fault(UNSUPPORTED_TAG.format(event.tag), line, "a plain value", event.tag)
        if len(self.stack) >= MAX_DEPTH:
            raise _Refused(_too_deep(line))
        self.stack.append(_Open(Node(kind, self.file, line), event.anchor))

    def _close(self, node: Node, anchor: Optional[str]) -> None:
        self.count += 1
        if node.size > MAX_NODES or self.count > MAX_NODES:
            raise _Refused(
                Fault(
                    "G-parse",
                    "aliases multiply this into too many values (an anchor bomb); it was not expanded"
                    if node.size > self.count
                    else "the file holds too many values",
                    node.line,
                    f"at most {MAX_NODES} values",
                    f"{min(max(node.size, self.count), 10**12)} values or more",
                )
            )
        if node.depth > MAX_DEPTH:
            raise _Refused(_too_deep(node.line))
        if anchor is not None:
            self.anchors[anchor] = node
        self._attach(node, node.line)

    def _attach(self, node: Node, line: int) -> None:
        if not self.stack:
            self.root = self.root or node
            return
        opened = self.stack[-1]
        if opened.node.kind == "sequence":
            opened.node.items.append(node)
            _grow(opened.node, node)
        elif opened.key is None:
            opened.key, opened.key_line, opened.key_quoted = self._key(node, line), line, node.quoted
        else:
            key, opened.key = opened.key, None
            if key == "<<" and not opened.key_quoted:
                self._collect_merge(opened, node, opened.key_line)
            else:
                self._insert(opened, Entry(key, opened.key_line, node))

    def _key(self, node: Node, line: int) -> str:
        if node.kind == "scalar":
            return node.text
        self._fault("a mapping key must be a single value", line, "a string", node.describe())
        return f"(line {line})"

    def _insert(self, opened: _Open, entry: Entry) -> None:
        node = opened.node
        earlier = node.entries.pop(entry.key, None)
        if earlier:
            node.shadowed.append(earlier)
            self.faults.append(
                Fault(
                    "G-duplicate-key",
                    f"key {entry.key!r} already stands at line {earlier.line};"
                    f" YAML would keep only this one (line {entry.line}) without a word",
                    entry.line,
                    "each key once",
                    f"lines {earlier.line} and {entry.line}",
                    self._path(entry.key),
                )
            )
        node.entries[entry.key] = entry
        _grow(node, entry.node)

    def _collect_merge(self, opened: _Open, node: Node, line: int) -> None:
        sources = node.items if node.kind == "sequence" else [node]
        if all(source.kind == "mapping" for source in sources):
            opened.merges.extend(sources)
        else:
            self._fault("'<<' merges mappings only", line, "a mapping or a list of mappings", node.describe())

    def _merge(self, opened: _Open) -> None:
        """What the mapping says itself comes first, then the sources of ``<<`` in their order."""
        for source in opened.merges:
            self.count += len(source.entries)
            for key, entry in source.entries.items():
                if key not in opened.node.entries:
                    opened.node.entries[key] = entry
                    _grow(opened.node, entry.node)


def _grow(parent: Node, child: Node) -> None:
    parent.size += child.size
    parent.depth = max(parent.depth, child.depth + 1)


def _too_deep(line: int) -> Fault:
    message = f"nested more than {MAX_DEPTH} levels deep; the rest of the file was not read"
    return Fault("G-parse", message, line, f"at most {MAX_DEPTH} levels", "one level more")


def _syntax_fault(error: Any, text: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    index = mark.line if mark else 0
    lines = text.splitlines()
    conflict = next((number for number, line in enumerate(lines, 1) if _CONFLICT.match(line)), None)
    if conflict is not None:
        marker = lines[conflict - 1].strip()[:80]
        message = f"a merge conflict that nobody resolved stands here: {marker}; the file was not read"
        return Fault("G-parse", message, conflict, "one of the two versions, without the markers", marker)
    # an unclosed bracket is noticed at the end of the file, one line after its last
    index = min(index, max(0, len(lines) - 1))
    stood = lines[index] if lines else ""
    problem = error.problem or error.context or "not YAML"
    context = ""
    if error.context and error.context_mark:
        context = f" ({error.context} that starts at line {error.context_mark.line + 1})"
    indentation = stood[: len(stood) - len(stood.lstrip())]
    hint = "; the line is indented with a tab, YAML wants spaces" if "\t" in indentation else ""
    if not hint and _BARE_EXPRESSION.search(stood) and "flow" in (error.context or ""):
        hint = "; inside of brackets or braces an expression with ${…} has to be quoted"
    return Fault(
        "G-parse",
        f"not valid YAML: {problem}{context}{hint}; the rest of the file was not read",
        index + 1,
        "spaces for indentation" if "\t" in indentation else "valid YAML",
        shown_text(stood.strip())[:80],
    )
