# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only several lines of YAML or JSON say together: names beside values, blocks, lists under a name.

Read by indentation and not by a parser: templates, broken files and hosts without PyYAML are read too.
"""

from __future__ import annotations

import re
from typing import Iterator, Optional, Sequence

from .credential_names import CredentialName, credential_name
from .literal_values import CODE, SETTING, assess, is_template
from .scan_hits import Hit

_NAME = re.compile(
    r"^[-{\s]*[\"']?(?:[Nn]ame|[Kk]ey|variable|env)[\"']?\s?:\s{0,9}[\"']?(?P<name>[A-Za-z_][\w.-]{0,80})[\"']?$"
)
_VALUE = re.compile(r"^[-{\s]*[\"']?(?:[Vv]alue|[Dd]efault)[\"']?\s?:\s{0,9}(?P<value>.+)$")
_ON_ONE_LINE = re.compile(
    r"[\"']?(?:name|key|variable)[\"']?\s?:\s{0,9}[\"']?(?P<name>[A-Za-z_][\w.-]{0,80})[\"']?\s{0,9},\s{0,9}[\"']?value[\"']?\s?:\s{0,9}"
    r"(?P<quote>[\"'])?(?P<value>(?(quote)[^\"']{1,300}|[^\s,}\"']{1,300}))",
    re.IGNORECASE,
)
_OPENED = re.compile(r"^[\"']?(?P<name>[A-Za-z_][\w.-]{0,80})[\"']?\s?:\s{0,9}(?P<block>[|>][0-9+-]{0,2})?\[?$")
_ENTRY = re.compile(r"^[\"']?[\w.-]{1,80}[\"']?\s?:\s{1,9}(?P<value>[^{\[|>&*!].*)$")
_OPTION = re.compile(r"^--?[a-z][a-z-]{2,40}$")

MOST_BELOW = 40
"""Lines below a name that are looked at."""

LONGEST = 2_000
"""Characters of a line."""


def find_together(lines: Sequence[str], numbers: Sequence[int], entries: bool) -> Iterator[Hit]:
    """``entries`` says whether what stands below the name of several credentials may be a mapping of them."""
    for number in numbers:
        line = lines[number - 1]
        if len(line) > LONGEST:
            continue
        for found in _ON_ONE_LINE.finditer(line):
            yield from _given(number, line, credential_name(found["name"]), found["value"], "assigned-value")
        told = _told(line)
        named = _NAME.match(told)
        if named:
            yield from _beside(lines, number, credential_name(named["name"]))
        item = told[1:].lstrip() if told.startswith("-") and not told.startswith("--") else told
        opened = _OPENED.match(item)
        if opened and opened["name"] != "secrets":
            indent = len(line) - len(line.lstrip()) + len(told) - len(item)
            yield from _below(lines, number, indent, credential_name(opened["name"]), bool(opened["block"]), entries)
        option = _unquoted(item)
        if _OPTION.match(option) and number < len(lines):
            value = _unquoted(_item(_told(lines[number])))
            if not value.startswith("-"):
                yield from _given(
                    number + 1, lines[number], credential_name(option.lstrip("-")), value, "command-argument"
                )


def _beside(lines: Sequence[str], number: int, name: Optional[CredentialName]) -> Iterator[Hit]:
    """``value:`` in the lines around ``name:``."""
    for other in (number + 1, number - 1, number + 2):
        if 1 <= other <= len(lines):
            value = _VALUE.match(_told(lines[other - 1]))
            if value:
                yield from _given(other, lines[other - 1], name, _unquoted(value["value"]), "assigned-value")
                return


def _below(
    lines: Sequence[str], number: int, indent: int, name: Optional[CredentialName], block: bool, entries: bool
) -> Iterator[Hit]:
    for below in range(number + 1, min(number + 1 + MOST_BELOW, len(lines) + 1)) if name else ():
        line = lines[below - 1]
        told = _told(line)
        if not told:
            continue
        deep = len(line) - len(line.lstrip())
        if name is None or deep < indent or (deep == indent and not told.startswith("-")):
            return
        if block:
            if "-----" not in told and ":" not in told and "=" not in told[:-2]:
                yield from _given(below, line, name, told, "assigned-value")
            return
        if not name.plural:
            return
        entry = _ENTRY.match(told) if entries and name.words[-1] not in ("credentials", "secrets") else None
        if told.startswith(("- ", '"', "'")) and ":" not in told:
            yield from _given(below, line, name, _unquoted(_item(told)), "assigned-value")
        elif entry:
            yield from _given(below, line, name, _unquoted(entry["value"]), "assigned-value", CODE)


def _told(line: str) -> str:
    """A line without its indentation, its comment, and the comma or bracket that ends an entry."""
    return line[:LONGEST].partition(" #")[0].strip().rstrip(",}").rstrip()


def _item(told: str) -> str:
    return told[2:].lstrip() if told.startswith("- ") else told


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0] else text


def _given(
    number: int, line: str, name: Optional[CredentialName], value: str, rule: str, place: str = SETTING
) -> Iterator[Hit]:
    if name is None or not value or "${" in value or is_template(value):
        return
    state = assess(value, name, place)
    if state:
        start = max(0, line.find(value))
        yield Hit(number, start, start + len(value), name.kind, rule, "_".join(name.words), state)
