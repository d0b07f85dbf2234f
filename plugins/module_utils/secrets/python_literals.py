# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials in Python programs, from their syntax tree; only statements with telling lines are visited.

Values that configure something (a fallback of ``os.environ.get``, the default of an argument or of a
field, an argument of a call) count even when they are weak; constants, entries of dicts and comparisons
only when they do not merely name a thing.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from bisect import bisect_left
from typing import Optional, Sequence

from ..fleet.source_file import collector_paused
from .credential_names import CredentialName, credential_name
from .literal_values import CODE, SETTING, assess
from .python_expressions import (
    ASKING,
    DEFAULTS,
    NOT_ASKING,
    USER_AND_PASSWORD,
    Named,
    first_name,
    last_name,
    literals,
    name_of,
    paired,
    text_of,
)
from .scan_hits import Hit
from .text_lines import PROGRAM, TEXT, assignments, by_form, on_command_lines, windows

LARGEST = 2 * 1024 * 1024 if sys.version_info >= (3, 11) else 128 * 1024
"""Characters; a larger program is read line by line. Before 3.11 nothing bounds the depth of the tree that
Python makes, and from twice this length on it can be deep enough to end the process."""

_DEEP = re.compile(r"[(\[{][\s(\[{]{60}")

_KEYED = {
    "Fernet": 0,
    "HTTPBasicAuth": 1,
    "HTTPDigestAuth": 1,
    "BasicAuth": 1,
    "PlainCredentials": 1,
    "PlainTextAuthProvider": 1,
    "UsernamePasswordCredential": 1,
    "login": 1,
    "set_password": 0,
    "URLSafeTimedSerializer": 0,
    "AESGCM": 0,
}
"""Calls whose argument of that place is a credential whatever it is called."""
_JWT = frozenset({"encode", "decode"})
_EXPLAINING = re.compile(r"DOCUMENTATION|EXAMPLE|USAGE|^RETURN$|HELP|epilog|docstring|readme", re.IGNORECASE)
_ENUMS = re.compile(r"(?:Enum|Flag|Choices)$")
_EMBEDDED = re.compile(r"[A-Za-z_\-\"']\s{0,3}[=:]|--|://|-p|-a|-u|login|identified|password\s|\|", re.IGNORECASE)


def find_in_program(text: str, lines: Sequence[str], numbers: Sequence[int]) -> Optional[list[Hit]]:
    """What stands on these lines, or None where the text is no Python, or too deep for a tree."""
    tree = _parsed(text)
    if tree is None:
        return None
    reader = _Reader(lines, numbers)
    try:
        reader.visit_body(tree.body)
    except RecursionError:
        return None
    return reader.hits()


def _parsed(text: str) -> Optional[ast.Module]:
    if len(text) > LARGEST or _DEEP.search(text) or "\0" in text:
        return None
    try:
        with collector_paused(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Reader:
    def __init__(self, lines: Sequence[str], numbers: Sequence[int]) -> None:
        self.lines = lines
        self.numbers = numbers
        self.found: list[Hit] = []
        self.fallbacks: list[ast.expr] = []
        self.explanations: list[ast.Constant] = []

    # ---- what is visited

    def visit_body(self, body: Sequence[ast.AST], enum: bool = False, annotated_defaults: bool = False) -> None:
        for statement in body:
            if self.telling(statement):
                self.visit(statement, enum, annotated_defaults)

    def telling(self, node: ast.AST) -> bool:
        first = getattr(node, "lineno", None)
        if first is None:
            return True
        for decorator in getattr(node, "decorator_list", ()):
            first = min(first, decorator.lineno)
        place = bisect_left(self.numbers, first)
        return place < len(self.numbers) and self.numbers[place] <= (getattr(node, "end_lineno", None) or first)

    def visit(self, node: ast.AST, enum: bool = False, in_class: bool = False) -> None:
        if isinstance(node, ast.ClassDef):
            names = [last_name(base) for base in node.bases]
            for decorator in node.decorator_list:
                self.visit(decorator)
            self.visit_body(node.body, any(_ENUMS.search(name) for name in names), True)
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            self.arguments(node.args)
            if not isinstance(node, ast.Lambda):
                for decorator in node.decorator_list:
                    self.visit(decorator)
                self.visit_body(node.body)
            else:
                self.visit(node.body)
            return
        if isinstance(node, ast.Assign):
            if isinstance(node.value, ast.Constant) and any(_explains(target) for target in node.targets):
                self.text(node.value, True)
                return
            if not enum:
                for target in node.targets:
                    for name, value in paired(target, node.value):
                        self.give(name, value, CODE, "assigned-value")
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            rule = "default-value" if in_class else "assigned-value"
            self.give(name_of(node.target), node.value, SETTING if in_class else CODE, rule, in_class)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                if key is not None:
                    self.give(name_of(key), value, CODE, "assigned-value", siblings=node)
        elif isinstance(node, ast.Call):
            self.call(node)
        elif isinstance(node, ast.Compare):
            self.compare(node)
        elif isinstance(node, ast.NamedExpr):
            self.give(name_of(node.target), node.value, CODE, "assigned-value")
        elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            self.give(name_of(node.values[0]), node.values[-1], CODE, "default-value", True)
        elif isinstance(node, ast.Constant):
            self.text(node, False)
            return
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            self.text(node.value, True)
            return
        for child in ast.iter_child_nodes(node):
            if self.telling(child):
                self.visit(child)

    # ---- what is given to whom

    def arguments(self, arguments: ast.arguments) -> None:
        positional = [*arguments.posonlyargs, *arguments.args]
        pairs = [*zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults)]
        pairs += [(one, value) for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults) if value is not None]
        for argument, value in pairs:
            self.give(credential_name(argument.arg), value, SETTING, "default-value", True)
            if self.telling(value):
                self.visit(value)

    def call(self, node: ast.Call) -> None:
        function = last_name(node.func)
        strings = [argument for argument in node.args if text_of(argument) is not None]
        named = next(
            (name for name in (credential_name((text_of(one) or "").lstrip("-")) for one in strings[:2]) if name), None
        )
        for keyword in node.keywords:
            if keyword.arg is None:
                continue
            if keyword.arg in DEFAULTS:
                name = named or next(
                    (
                        credential_name(text_of(k.value) or "")
                        for k in node.keywords
                        if k.arg in ("env", "alias", "validation_alias", "dest")
                    ),
                    None,
                )
                self.give(name, keyword.value, SETTING, "default-value", True)
            elif keyword.arg == "auth" and isinstance(keyword.value, ast.Tuple) and len(keyword.value.elts) == 2:
                self.give(USER_AND_PASSWORD, keyword.value.elts[1], SETTING, "assigned-value")
            elif not NOT_ASKING.match(function):
                name = credential_name(keyword.arg)
                words_of_text = name is not None and name.kind in ("token", "api_key")  # as Token(token="while")
                self.give(name, keyword.value, CODE if words_of_text else SETTING, "assigned-value")
        if named and len(node.args) >= 2 and ASKING.search(function) and not NOT_ASKING.match(function):
            first = text_of(node.args[0])
            index = 0 if first is not None and credential_name(first) else 1
            if index + 1 < len(node.args) and function != "add_argument":
                self.give(
                    named,
                    node.args[index + 1],
                    SETTING,
                    "default-value",
                    "set" not in function or function == "setdefault",
                )
        elif len(node.args) >= 2 and ASKING.search(function):
            self.give(None, node.args[1], SETTING, "default-value", True)
        elif named and function in ("setenv", "putenv") and len(node.args) >= 2:
            self.give(named, node.args[1], SETTING, "assigned-value")
        place = _KEYED.get(function)
        if place is not None and len(node.args) > place and (function != "login" or len(node.args) == 2):
            self.give(USER_AND_PASSWORD if place else _CALLED_SECRET, node.args[place], SETTING, "assigned-value")
        elif function == "connect" and "mysql" in first_name(node.func).lower() and len(node.args) > 2:
            self.give(USER_AND_PASSWORD, node.args[2], SETTING, "assigned-value")
        elif function in _JWT and "jwt" in first_name(node.func).lower() and len(node.args) > 1:
            self.give(_CALLED_SECRET, node.args[1], SETTING, "assigned-value")
        elif function == "new" and first_name(node.func) == "hmac" and node.args:
            self.give(_CALLED_SECRET, node.args[0], SETTING, "assigned-value")
        elif function == "compare_digest" and len(node.args) == 2:
            for one, other in (node.args, node.args[::-1]):
                self.give(name_of(one), other, CODE, "comparison")

    def compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for operator, one, other in zip(node.ops, operands, operands[1:]):
            if isinstance(operator, (ast.Eq, ast.NotEq)):
                self.give(name_of(one), other, CODE, "comparison")
                self.give(name_of(other), one, CODE, "comparison")
            elif isinstance(operator, ast.In) and isinstance(other, (ast.List, ast.Tuple, ast.Set)):
                name = name_of(one)
                self.give(name and name._replace(plural=True), other, CODE, "comparison")

    def give(
        self,
        name: Named,
        value: ast.expr,
        place: str,
        rule: str,
        fallback: bool = False,
        siblings: Optional[ast.Dict] = None,
    ) -> None:
        """``name`` gets ``value``: each literal that may become it is assessed."""
        for literal, called, is_fallback in literals(value, name, fallback):
            if is_fallback:
                self.fallbacks.append(literal)
            if called is None:
                continue
            text = text_of(literal)
            if text is None:
                number = getattr(literal, "value", None)
                if (
                    called.kind != "password"
                    or isinstance(number, bool)
                    or not isinstance(number, int)
                    or not 0 <= number < 10**20
                ):
                    continue
                text = str(number)
            if siblings is not None and text == text.lower() and text.isalpha() and not _beside_an_account(siblings):
                continue
            if rule == "comparison" and not (any(map(str.isdigit, text)) or (called.kind != "token" and "-" in text)):
                continue
            state = assess(text, called, SETTING if is_fallback and place != CODE else place, fallback=is_fallback)
            if state and not (rule == "comparison" and state == "sample"):
                self.add(literal, called, "default-value" if is_fallback else rule, state, is_fallback)

    def add(self, literal: ast.expr, name: CredentialName, rule: str, state: str, fallback: bool) -> None:
        line, start = literal.lineno, literal.col_offset
        last, end = literal.end_lineno, literal.end_col_offset
        end = end if end is not None and last == line else start + 1_000_000
        self.found.append(Hit(line, start, end, name.kind, rule, "_".join(name.words), state, fallback))

    # ---- texts inside of literals

    def text(self, node: ast.Constant, explains: bool) -> None:
        """Settings, commands and connection strings that a literal holds as a whole."""
        value = node.value
        if explains:
            self.explanations.append(node)
        if not isinstance(value, str) or not 8 <= len(value) <= 200_000 or not _EMBEDDED.search(value):
            return
        last = node.end_lineno or node.lineno
        if last > node.lineno:
            inside = [n for n in self.numbers[bisect_left(self.numbers, node.lineno) :] if n <= last]
            style = TEXT if explains or "=" not in value else PROGRAM
            for number in inside:
                for line in windows(self.lines[number - 1]):
                    self.found += [
                        one._replace(prose=one.prose or explains) for one in assignments(number, line, style)
                    ]
                    if style == PROGRAM:
                        self.found += assignments(number, line, TEXT)
            return
        for part in value.split("\n"):
            for hit in assignments(node.lineno, part[:2000], TEXT):
                self.found.append(
                    hit._replace(
                        start=node.col_offset,
                        end=node.end_col_offset or node.col_offset + 1,
                        prose=explains,
                    )
                )

    def hits(self) -> list[Hit]:
        """With what is known by its form, and what comments hold."""
        fallback_lines = {
            (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset) for node in self.fallbacks
        }
        for number in self.numbers:
            text = self.lines[number - 1]
            for line in windows(text):
                for hit in by_form(self.lines, number, line):
                    explained = any(one.lineno <= number <= (one.end_lineno or 0) for one in self.explanations)
                    inside = any(a == number == c and b <= hit.start < (d or 0) for a, b, c, d in fallback_lines)
                    self.found.append(hit._replace(fallback=hit.fallback or inside, prose=explained))
                if '", "-' in line or "', '-" in line:
                    self.found += on_command_lines(number, line, PROGRAM)
                if text.lstrip().startswith("#"):
                    self.found += assignments(number, line, TEXT)
        return self.found


_CALLED_SECRET = CredentialName("secret", ("secret", "key"))


def _explains(target: ast.AST) -> bool:
    return bool(_EXPLAINING.search(last_name(target)))


_ACCOUNT = re.compile(r"user|login|host|account|email|port|^db|database|server|address|url", re.IGNORECASE)


def _beside_an_account(node: ast.Dict) -> bool:
    """Next to a user or a host, ``"password": "postgres"`` is one; in a table of words it is a word."""
    return any(_ACCOUNT.search(text_of(key) or "") for key in node.keys if key is not None)
