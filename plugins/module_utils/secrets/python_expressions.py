# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an expression of Python may become: its literals, its text, and what it is called."""

from __future__ import annotations

import ast
import re
from typing import Iterator, Optional

from .credential_names import CredentialName, credential_name, words

ASKING = re.compile(
    r"get|env|config|setting|option|default|param|secret|^pop$|^var$|^read|^field|^arg|^conf$|^str$", re.IGNORECASE
)
NOT_ASKING = re.compile(
    r"^(?:replace|sub|subn|setattr|print|log|debug|info|warning|error|exception|critical|startswith|endswith|split|join|strip)$"
)
DEFAULTS = frozenset({"default", "fallback", "default_value", "default_factory", "const"})

_METHODS = words("encode strip lower rstrip lstrip format")
_WRAPPERS = words("SecretStr SecretBytes str bytes Secret quote quote_plus urlsafe_b64encode b64encode")
"""What gives back, in another form, what it is called on, or what it is called with."""

_FIELDS = words("field Field attrib ib Column Option Argument Header Query Form Body Cookie Depends")

Named = Optional[CredentialName]


USER_AND_PASSWORD = CredentialName("password", ("password",))
"""The second of the two that ``auth=`` takes."""


def literals(value: ast.expr, name: Named, fallback: bool) -> Iterator[tuple[ast.expr, Named, bool]]:
    """The literals that an expression may become, with the name that they go by."""
    if isinstance(value, (ast.Constant, ast.JoinedStr)):
        yield value, name, fallback
    elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        if text_of(value) is not None:
            yield value, name, fallback
    elif isinstance(value, ast.BoolOp):
        called = name or name_of(value.values[0])
        for one in value.values:
            yield from literals(one, called, fallback or one is not value.values[0])
    elif isinstance(value, ast.IfExp):
        for one in (value.body, value.orelse):
            yield from literals(one, name, True)
    elif isinstance(value, (ast.List, ast.Tuple, ast.Set)):
        for one in value.elts if name is not None and name.plural else ():
            if text_of(one) is not None:
                yield one, name, fallback
    elif isinstance(value, ast.Dict) and name is not None and name.plural and name.words[-1] != "credentials":
        for key, one in zip(value.keys, value.values):
            if key is not None and text_of(one) is not None and name_of(key) is None:
                yield one, name, fallback
    elif isinstance(value, ast.Lambda):
        yield from literals(value.body, name, True)
    elif isinstance(value, ast.Await):
        yield from literals(value.value, name, fallback)
    elif isinstance(value, ast.Call):
        yield from _literals_of_call(value, name, fallback)


def paired(target: ast.expr, value: ast.expr) -> Iterator[tuple[Named, ast.expr]]:
    """``user, password = "a", "b"`` is two assignments."""
    if isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
        for one, given in zip(target.elts, value.elts):
            yield name_of(one), given
    elif isinstance(value, ast.Tuple) and len(value.elts) == 2 and last_name(target).lower().endswith("auth"):
        yield USER_AND_PASSWORD, value.elts[1]
    else:
        yield name_of(target), value


def _literals_of_call(value: ast.Call, name: Named, fallback: bool) -> Iterator[tuple[ast.expr, Named, bool]]:
    function = last_name(value.func)
    if function in _FIELDS:
        for one in [*value.args[:1], *(keyword.value for keyword in value.keywords if keyword.arg in DEFAULTS)]:
            yield from literals(one, name, True)
        return
    if isinstance(value.func, ast.Attribute) and function in _METHODS:
        yield from literals(value.func.value, name, fallback)
    elif function in _WRAPPERS and value.args:
        yield from literals(value.args[0], name, fallback)
    elif ASKING.search(function) and not NOT_ASKING.match(function):
        asked = next(
            (credential_name(text) for text in map(text_of, value.args[:2]) if text and credential_name(text)), None
        )
        if asked is None and name is not None:  # the name asked for says nothing, what it is given to does
            for one in [*value.args[1:2], *(keyword.value for keyword in value.keywords if keyword.arg in DEFAULTS)]:
                yield from literals(one, name, True)


def text_of(node: Optional[ast.AST]) -> Optional[str]:
    """The text of a literal, of several put together, or of an f-string that fills nothing in."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return node.value
        return node.value.decode("latin-1") if isinstance(node.value, bytes) else None
    if isinstance(node, ast.JoinedStr):
        parts = [text_of(part) for part in node.values]
        return None if None in parts else "".join(part for part in parts if part)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        pieces: list[str] = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            piece = text_of(node.right) if isinstance(node.right, ast.Constant) else None
            if piece is None:
                return None
            pieces.append(piece)
            node = node.left
        first = text_of(node) if isinstance(node, ast.Constant) else None
        return None if first is None else first + "".join(reversed(pieces))
    return None


def name_of(node: ast.AST) -> Named:
    """What an expression is called: a variable, an attribute, a key, or a question for one of them."""
    if isinstance(node, ast.Name):
        return credential_name(node.id)
    if isinstance(node, ast.Attribute):
        return credential_name(node.attr)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return credential_name(node.value) if " " not in node.value else None
    if isinstance(node, ast.Subscript):
        index = node.slice
        return name_of(getattr(index, "value", index) if type(index).__name__ == "Index" else index)
    if isinstance(node, ast.Call) and node.args and ASKING.search(last_name(node.func)):
        return name_of(node.args[0]) if isinstance(node.args[0], ast.Constant) else None
    return None


def last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return last_name(node.func) if isinstance(node, ast.Call) else ""


def first_name(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
