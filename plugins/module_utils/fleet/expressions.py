# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``${VAR}``, ``${VAR:-default}`` and ``${PORT_OFFSET}+7100``, from given values and nothing else.

A variable without a given value and without a default of its own stays unresolved and is named.
In particular PORT_OFFSET is not taken to be 0 because some loader does so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Optional

MAX_NESTING = 8
"""Deepest ``${A:-${B:-…}}`` that is followed; what is deeper stays as it stands."""

MAX_SUM = 200
"""Longest sum that is calculated; the search for its terms takes the square of its length."""

_OPENING = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-|\})")
_TERM = re.compile(r"\s*([+-]?)\s*(?:([0-9]{1,9})|\$\{([A-Za-z_][A-Za-z0-9_]*)\})\s*")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def is_expression(text: str) -> bool:
    return _OPENING.search(text) is not None


@dataclass(frozen=True)
class Expansion:
    """``text`` with everything resolved that could be; ``missing`` names the variables that could not,
    each once, in the order of the text."""

    text: str
    missing: tuple[str, ...] = ()


def expand(text: str, values: Mapping[str, str]) -> Expansion:
    """Replace each variable by its value, else by its default. A value is never looked into again."""
    missing: dict[str, None] = {}
    expanded = _expand(text, values, missing, MAX_NESTING)
    return Expansion(expanded, tuple(missing))


def _expand(text: str, values: Mapping[str, str], missing: dict[str, None], nesting: int) -> str:
    parts: list[str] = []
    position = 0
    while True:
        match = _OPENING.search(text, position)
        if match is None:
            return "".join(parts) + text[position:]
        parts.append(text[position : match.start()])
        name, default, end = match.group(1), None, match.end()
        if match.group(2) == ":-":
            closing = _closing(text, end)
            if closing is None or nesting == 0:
                return "".join(parts) + text[match.start() :]
            default, end = text[match.end() : closing], closing + 1
        # as in a shell: an empty value counts as none where there is a default
        value = values.get(name)
        if value is not None and (value or default is None):
            parts.append(value)
        elif default is not None:
            parts.append(_expand(default, values, missing, nesting - 1))
        else:
            missing[name] = None
            parts.append(match.group(0))
        position = end


def _closing(text: str, start: int) -> Optional[int]:
    """Index of the brace that closes the default which begins at ``start``."""
    depth = 1
    for match in re.compile(r"\$\{|\}").finditer(text, start):
        depth += 1 if match.group() == "${" else -1
        if depth == 0:
            return match.start()
    return None


@dataclass(frozen=True)
class Number:
    """What a port expression comes to.

    ``value`` is None when variables are ``missing``, or when it is no sum of integers (``missing`` is
    then empty). ``base`` is ``(variable, constant)`` where the value is one missing variable plus a
    constant: two such ports are equal whatever the variable's value is.
    """

    value: Optional[int] = None
    missing: tuple[str, ...] = ()
    base: Optional[tuple[str, int]] = None


def number(text: str, values: Mapping[str, str]) -> Number:
    """Resolve a sum such as ``${PORT_OFFSET}+7100`` (digits, ``+``, ``-``; nothing else is evaluated)."""
    expansion = expand(text, values)
    total = 0
    variables: list[tuple[str, str]] = []
    position = 0
    if len(expansion.text) > MAX_SUM:
        return Number(missing=expansion.missing)
    while position < len(expansion.text):
        match = _TERM.match(expansion.text, position)
        if match is None or (position > 0 and not match.group(1)):
            return Number(missing=expansion.missing)
        sign, digits, variable = match.groups()
        if variable:
            variables.append((sign, variable))
        else:
            total += -int(digits) if sign == "-" else int(digits)
        position = match.end()
    if not expansion.text.strip():
        return Number()
    if not variables:
        return Number(value=total)
    base = (variables[0][1], total) if len(variables) == 1 and variables[0][0] != "-" else None
    return Number(missing=expansion.missing, base=base)


def truth(text: str, values: Mapping[str, str]) -> Optional[bool]:
    """What ``${FLAG:-false}`` or ``${FLAG:-false} == 'false'`` says; None when it cannot be told."""
    expansion = expand(text, values)
    if expansion.missing:
        return None
    for operator in ("==", "!="):
        left, found, right = expansion.text.partition(operator)
        if found:
            return (_unquoted(left) == _unquoted(right)) == (operator == "==")
    return _WORDS.get(expansion.text.strip().lower())


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
