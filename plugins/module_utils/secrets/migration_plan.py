# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which credentials of a tree can be moved, under which names, and why others are left. Nothing is changed here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Callable, Iterable, Mapping, NamedTuple, Optional, Sequence, Union

from ..fleet.yaml_scalars import scalar_value
from .model import Hidden
from .placeholder_names import Wish, named
from .placeholders import NAME, Path, PlaceholderError, Scalar, Scalars, scalars
from .scan_findings import Finding, findings
from .scan_hits import Hit, merged
from .scanned_files import ScannedFile, described
from .scanning import hits_of
from .telling_lines import telling_lines
from .text_lines import LONGEST_LINE, YAML

_TEMPLATE = re.compile(r"\.(?:j2|jinja2?|tmpl|tpl|template)$", re.IGNORECASE)
_LINE = re.compile(r"\r\n|\r|\n")
_USED = re.compile(r"\$\{([A-Z][A-Z0-9_]{0,63})")
_DEFAULT = re.compile(r"\$\{(?P<name>[A-Za-z_]\w*):?-(?P<value>[^{}]+)\}", re.DOTALL)
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?=.)", re.DOTALL)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_HEADER = re.compile(r"\w+ \S+")
_TELLING = 8
"""Shorter texts, and words, are found within keys by chance."""

_NAMING = ("name", "key", "variable", "env")
"""Keys of a list's item that say what the item is called."""

UNREADABLE = "its file is too large, or not UTF-8"
ELSEWHERE = "it is not in YAML: read the secret there, then remove it"
COMMENT = "it stands in a comment"
LONG_LINE = "its line is too long"
COMMAND = "it is part of a command, and commands are seen by everybody"
LONGER = "it is part of a longer text"
NOT_TEXT = "to YAML it is no text; write it in quotes"
UNWRITABLE = "it holds what no text can hold"
KEY_IS_ONE = "a key that leads to it is a credential itself"
LOWER = "its variable is not in capitals"
DIFFERENT = "its variable has different defaults, or is set elsewhere to another value"


@dataclass(frozen=True)
class Move:
    """One scalar. It becomes ``keep`` and the placeholder; ``form`` is ``whole`` or ``default``."""

    file: str
    path: Path
    line: int
    kind: str
    class_: str
    id: str
    name: str
    keep: str = ""
    form: str = "whole"

    @property
    def replacement(self) -> str:
        return f"{self.keep}${{{self.name}}}"

    @property
    def key(self) -> str:
        """For people: the keys that lead there."""
        return ".".join(str(part) for part in self.path[1:])

    def value_in(self, scalar: Scalar) -> Optional[Hidden]:
        """What is to be moved out of this scalar; None when it was moved already."""
        if scalar.value == self.replacement:
            return None
        text = scalar.value[len(self.keep) :]
        default = _DEFAULT.fullmatch(text) if self.form == "default" else None
        if scalar.value[: len(self.keep)] != self.keep or (self.form == "default" and default is None):
            raise PlaceholderError("the value that was to be moved is not there any more", where=self.file)
        return Hidden((default["value"] if default else text).encode())


class Left(NamedTuple):
    finding: Finding
    reason: str


@dataclass(frozen=True)
class Plan:
    """``values`` holds the value of each name."""

    moves: tuple[Move, ...]
    left: tuple[Left, ...]
    values: Mapping[str, Hidden] = field(repr=False, default_factory=dict)

    @property
    def files(self) -> list[str]:
        return sorted({move.file for move in self.moves})


@dataclass(frozen=True)
class _Candidate:
    finding: Finding
    scalar: Scalar
    line: int
    file: str
    wish: Wish
    keep: str
    form: str
    value: Hidden


class _Form(NamedTuple):
    keep: str
    form: str
    value: str
    variable: str
    must: bool


def is_yaml(path: str) -> bool:
    """Whether a file is read as YAML here: templates are not, they are YAML only when rendered."""
    return described(path).style == YAML and not _TEMPLATE.search(path)


def plan(
    files: Mapping[str, bytes],
    elsewhere: Iterable[Finding] = (),
    remaining: Callable[[Sequence[Finding]], Sequence[Finding]] = tuple,
) -> Plan:
    """For the YAML files of a tree, and the findings in its other files. ``remaining`` says which findings nobody
    accepted."""
    candidates: dict[tuple[str, Path], _Candidate] = {}
    others = remaining([one for one in elsewhere if one.blocking])
    left = [Left(one, UNREADABLE if is_yaml(one.file) else ELSEWHERE) for one in others]
    used: set[str] = set()
    for path in sorted(files):
        used.update(_USED.findall(files[path].decode("utf-8", "replace")))
        for judged in _in_file(path, files[path], remaining):
            if isinstance(judged, Left):
                left.append(judged)
            else:
                candidates.setdefault((path, judged.scalar.path), judged)
    same = {place: one.value.reveal() for place, one in candidates.items()}
    names = named({place: one.wish for place, one in candidates.items()}, same, frozenset(used))
    left += [Left(one.finding, DIFFERENT) for place, one in candidates.items() if place not in names]
    moves = tuple(_move(one, names[place]) for place, one in candidates.items() if place in names)
    values = {names[place]: one.value for place, one in candidates.items() if place in names}
    return Plan(moves, tuple(sorted(left)), values)


def _move(one: _Candidate, name: str) -> Move:
    finding = one.finding
    return Move(one.file, one.scalar.path, one.line, finding.kind, finding.class_, finding.id, name, one.keep, one.form)


def _in_file(
    path: str, content: bytes, remaining: Callable[[Sequence[Finding]], Sequence[Finding]]
) -> list[Union[_Candidate, Left]]:
    text = _LINE.sub("\n", content.decode("utf-8-sig", "replace"))
    numbers = telling_lines(text)
    if not numbers:
        return []
    lines = text.split("\n")
    file: ScannedFile = described(path, lines[0][:200])
    hits = merged(hits_of(file, text, lines, numbers))
    pairs = list(zip(findings(file, hits), hits))
    wanted = set(remaining([finding for finding, _hit in pairs if finding.blocking]))
    if not wanted:
        return []
    try:
        found = scalars(content, path)
    except PlaceholderError as error:
        return [Left(finding, error.what) for finding, _hit in pairs if finding in wanted]
    return _File(path, found, hits).judged([(finding, hit) for finding, hit in pairs if finding in wanted])


class _File:
    """One YAML file, and all hits in it, also those that are no findings to act on."""

    def __init__(self, path: str, found: Scalars, hits: Sequence[Hit]) -> None:
        self.path = path
        self.found = found
        self.values = found.values()
        self.starts = [*found.lines, len(found.text) + 1]
        touched = [found.at(self.starts[hit.line - 1] + hit.start) for hit in hits if hit.state != "encrypted"]
        self.tainted = {one.path for one in touched if one is not None}
        self.tainted_keys = {one.path for one in touched if one is not None and one.is_key}
        begins = ((self.starts[hit.line - 1], hit) for hit in hits)
        texts = (found.text[begin + hit.start : begin + hit.end] for begin, hit in begins)
        self.secrets = {text for text in texts if len(text) >= _TELLING and re.search("[0-9]", text)}

    def judged(self, pairs: Iterable[tuple[Finding, Hit]]) -> list[Union[_Candidate, Left]]:
        """What can be moved, and what is left; a finding inside a scalar that is moved goes with it."""
        outcomes = [self._judge(finding, hit) for finding, hit in pairs]
        moved = [one.scalar for one in outcomes if isinstance(one, _Candidate)]
        lines = {line for one in moved for line in range(self.found.line(one.start), self.found.line(one.end) + 1)}
        by_place = {one.path for one in moved}
        return [
            one
            for one, (_finding, hit) in zip(outcomes, pairs)
            if isinstance(one, _Candidate) or hit.line not in lines or self._path(hit) not in by_place
        ]

    def _path(self, hit: Hit) -> Optional[Path]:
        scalar = self.found.at(self.starts[hit.line - 1] + hit.start)
        return scalar.path if scalar else None

    def _judge(self, finding: Finding, hit: Hit) -> Union[_Candidate, Left]:
        begin = self.starts[hit.line - 1]
        if self.starts[hit.line] - begin > LONGEST_LINE:
            return Left(finding, LONG_LINE)
        scalar = self.found.at(begin + hit.start)
        if scalar is None:
            return Left(finding, COMMENT)
        if scalar.refusal:
            return Left(finding, scalar.refusal)
        if self._key_tells(scalar.path):
            return Left(finding, KEY_IS_ONE)
        form = self._form(scalar, hit, begin)
        if isinstance(form, str):
            return Left(finding, form)
        if any("\ud800" <= character <= "\udfff" or character == "\0" for character in form.value):
            return Left(finding, UNWRITABLE)
        labels = self._labels(scalar.path)
        variable = form.variable or (labels[-1] if labels and NAME.fullmatch(labels[-1]) else "")
        if form.keep and not NAME.fullmatch(variable):
            labels = (*labels, form.keep[:-1])
        wish = Wish(self.path, labels, variable, form.must)
        value = Hidden(form.value.encode())
        return _Candidate(finding, scalar, self.found.line(scalar.start), self.path, wish, form.keep, form.form, value)

    def _key_tells(self, path: Path) -> bool:
        """Whether a key, which would be shown, is a credential or repeats one."""
        if any(path[:length] in self.tainted_keys for length in range(1, len(path) + 1)):
            return True
        return any(secret in part for part in path[1:] if isinstance(part, str) for secret in self.secrets)

    def _form(self, scalar: Scalar, hit: Hit, begin: int) -> Union[_Form, str]:
        """How this scalar is moved, or why not."""
        if hit.rule == "command-argument":
            return COMMAND
        text = scalar.value
        written_end = scalar.end - (1 if scalar.style in ("'", '"') else 0)
        assigned = _ASSIGNED.match(text) if scalar.style not in ("|", ">") else None
        keep = assigned.group() if assigned and begin + hit.start >= scalar.inner + len(assigned.group()) else ""
        tail, start = text[len(keep) :], scalar.inner + len(keep)
        default = _DEFAULT.fullmatch(tail)
        if default:
            if not NAME.fullmatch(default["name"]):
                return LOWER
            return _Form(keep, "default", default["value"], default["name"], True)
        covers = begin + hit.start <= start + 1 and begin + hit.end >= written_end
        if not covers and not self._is_whole(scalar, hit, tail, begin + hit.start <= start + 1, bool(keep)):
            return LONGER
        if scalar.plain and not keep:
            value, fault = scalar_value(text, None, plain=True)
            if fault or not (isinstance(value, str) or (isinstance(value, int) and str(value) == text)):
                return NOT_TEXT
        return _Form(keep, "whole", tail, keep[:-1] if NAME.fullmatch(keep[:-1]) else "", False)

    def _is_whole(self, scalar: Scalar, hit: Hit, tail: str, at_start: bool, kept: bool) -> bool:
        """Whether all of the text is the credential, though what was found is only a part of it."""
        if hit.rule == "private-key":
            return tail.strip().startswith("-----BEGIN") and tail.strip().endswith("-----")
        if _ADDRESS.fullmatch(tail):
            return True
        if hit.rule == "authorization-header":
            return bool(_HEADER.fullmatch(tail))
        if scalar.style in ("|", ">"):
            return len(tail.strip().split("\n")) == 1 and len(tail.strip()) == hit.end - hit.start
        return at_start and not hit.by_form and not (kept and len(tail.split()) > 1)

    def _labels(self, path: Path) -> tuple[str, ...]:
        """The keys of a path, and for items of lists what they are called; what is a credential is no label."""
        labels: list[str] = []
        for length in range(2, len(path) + 1):
            part = path[length - 1]
            if isinstance(part, str):
                labels.append(part)
                continue
            called = self._called(path[:length])
            if called:
                labels.append(called)
                if path[length:] in (("value",), ("default",)):
                    break
        return tuple(labels)

    def _called(self, item: Path) -> Optional[str]:
        for key in _NAMING:
            scalar = self.values.get((*item, key))
            if (
                scalar
                and scalar.value not in self.secrets
                and scalar.path not in self.tainted
                and re.fullmatch(r"[\w .-]{1,64}", scalar.value)
            ):
                return scalar.value
        return None
