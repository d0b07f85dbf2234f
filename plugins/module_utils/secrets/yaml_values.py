# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only several lines of YAML or JSON say together: names beside values, blocks, lists under a name.

Read by indentation and not by a parser: templates, broken files and hosts without PyYAML are read too.
"""

from __future__ import annotations

import re
from typing import Iterator, Sequence

from .credential_names import CredentialName, credential_name
from .literal_values import CODE, SETTING, assess, is_template
from .scan_hits import Hit

_NAME = re.compile(
    r"^\s*[-{\s]*[\"']?(?:name|key|variable|env|Name|Key)[\"']?\s*:\s*[\"']?(?P<name>[A-Za-z_][\w.-]{0,80})[\"']?\s*[,}]?\s*(?:#.*)?$"
)
_VALUE = re.compile(
    r"^\s*[-{\s]*[\"']?(?:value|default|Value|Default)[\"']?\s*:\s*(?P<quote>[\"'])?(?P<value>(?(quote)[^\"']*|[^\s#,}][^#,}]*?))(?(quote)[\"'])\s*[,}]?\s*(?:#.*)?$"
)
_ON_ONE_LINE = re.compile(
    r"[\"']?(?:name|key|variable)[\"']?\s*:\s*[\"']?(?P<name>[A-Za-z_][\w.-]{0,80})[\"']?\s*,\s*[\"']?value[\"']?\s*:\s*"
    r"(?P<quote>[\"'])?(?P<value>(?(quote)[^\"']{1,300}|[^\s,}\"']{1,300}))",
    re.IGNORECASE,
)
_OPENED = re.compile(
    r"^(?P<indent>[\s-]*)[\"']?(?P<name>[A-Za-z_][\w.-]{0,80})[\"']?\s*:\s*(?P<block>[|>][0-9+-]{0,2})?\s*(?P<list>\[)?\s*(?:#.*)?$"
)
_ITEM = re.compile(
    r"^\s*-\s+(?P<quote>[\"'])?(?P<value>(?(quote)[^\"']*|[^\s#\"'{\[][^#]*?))(?(quote)[\"'])\s*,?\s*(?:#.*)?$|^\s*(?P<q>[\"'])(?P<bare>[^\"']+)(?P=q)\s*,?\s*$"
)
_ENTRY = re.compile(
    r"^\s*[\"']?[\w.-]{1,80}[\"']?\s*:\s*(?P<quote>[\"'])?(?P<value>(?(quote)[^\"']*|[^\s#\"'{\[|>&*!][^#]*?))(?(quote)[\"'])\s*,?\s*(?:#.*)?$"
)
_WORD = re.compile(r"^\s*-?\s*[\"']?(?P<option>--?[a-z][a-z-]{2,40})[\"']?\s*,?\s*$")

MOST_BELOW = 40
"""Lines below a name that are looked at."""


def find_together(lines: Sequence[str], numbers: Sequence[int]) -> Iterator[Hit]:
    for number in numbers:
        line = lines[number - 1]
        if len(line) > 2000:
            continue
        for found in _ON_ONE_LINE.finditer(line):
            yield from _hit(number, found, found["name"])
        named = _NAME.match(line)
        if named:
            for other in (number + 1, number - 1, number + 2):
                if 1 <= other <= len(lines):
                    value = _VALUE.match(lines[other - 1][:2000])
                    if value:
                        yield from _hit(other, value, named["name"])
                        break
        opened = _OPENED.match(line)
        name = credential_name(opened["name"]) if opened else None
        if opened and name:
            yield from _below(lines, number, len(opened["indent"]), name, bool(opened["block"]))
        option = _WORD.match(line)
        if option and number < len(lines):
            called = credential_name(option["option"].lstrip("-"))
            item = _ITEM.match(lines[number][:2000])
            if called and item and not (item["value"] or "").startswith("-"):
                yield from _assessed(number + 1, item, "value" if item["value"] else "bare", called, "command-argument")


def _below(lines: Sequence[str], number: int, indent: int, name: CredentialName, block: bool) -> Iterator[Hit]:
    for below in range(number + 1, min(number + 1 + MOST_BELOW, len(lines) + 1)):
        line = lines[below - 1][:2000]
        if not line.strip():
            continue
        deep = len(line) - len(line.lstrip())
        if deep < indent or (deep == indent and not line.lstrip().startswith("-")):
            return
        if block:
            value = line.strip()
            if "-----" not in value and ":" not in value and "=" not in value[:-2]:
                state = assess(value, name, SETTING)
                if state:
                    yield Hit(below, deep, len(line), name.kind, "assigned-value", "_".join(name.words), state)
            return
        item = _ITEM.match(line)
        if item:
            yield from _assessed(below, item, "value" if item["value"] is not None else "bare", name, "assigned-value")
            continue
        entry = (
            _ENTRY.match(line)
            if name.plural and name.kind in ("token", "api_key", "password") and name.words[-1] != "credentials"
            else None
        )
        if entry:
            yield from _assessed(below, entry, "value", name, "assigned-value", CODE)


def _hit(number: int, found: re.Match[str], called: str) -> Iterator[Hit]:
    name = credential_name(called)
    if name and found["value"]:
        yield from _assessed(number, found, "value", name, "assigned-value")


def _assessed(
    number: int, found: re.Match[str], group: str, name: CredentialName, rule: str, place: str = SETTING
) -> Iterator[Hit]:
    value = found[group]
    if not value or "${" in value or is_template(value):
        return
    state = assess(value, name, place)
    if state:
        yield Hit(number, found.start(group), found.end(group), name.kind, rule, "_".join(name.words), state)
