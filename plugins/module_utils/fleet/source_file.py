# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Python source file, parsed once, and what it binds, imports and adds to its search path."""

from __future__ import annotations

import ast
import gc
import re
import sys
import warnings
from bisect import bisect_left, bisect_right
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Optional, Sequence, Union

LARGEST = 8 * 1024 * 1024
"""Bytes; a larger file is named instead of parsed."""

_TELLING = re.compile(
    rb"sys\.path|addsitedir|sys\.modules|__path__|globals|exec|import_module|__import__|run_module|run_path"
    rb"|spec_from_file_location|meta_path|_convert_"
)
"""What a line must have in its text before the calls and assignments on it can matter here."""

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

Definition = Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef]
Scope = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

_BLOCKS = {
    kind: tuple(part for part in ("body", "orelse", "finalbody", "handlers", "cases") if part in kind._fields)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST) and not issubclass(kind, (ast.expr, ast.Expression))
}
"""The fields of each kind of node that hold further statements; most have none."""


@dataclass(frozen=True)
class ParseFailure:
    """Why a file is no Python: the compiler's sentence, and the line it points at (1 if none);
    ``unread`` where the compiler never saw it."""

    message: str
    line: int
    unread: bool = False

    @property
    def sentence(self) -> str:
        """What is said of the file."""
        return self.message if self.unread else f"does not parse: {self.message}"


@dataclass(frozen=True)
class Import:
    """One imported module. ``module`` is dotted without leading dots, ``level`` counts the dots,
    ``names`` are ``(name, bound as)`` of a from-import, ``bound_as`` what ``import a.b`` binds."""

    module: str
    level: int
    line: int
    names: tuple[tuple[str, str], ...] = ()
    bound_as: str = ""

    @property
    def star(self) -> bool:
        return any(name == "*" for name, _bound in self.names)


@dataclass
class SourceFile:
    """``path`` is relative to the root. Exactly one of ``tree`` and ``failure`` is None.
    ``not_as_script`` says why a file that can be imported cannot be started; ``open_names`` that it
    may define more names than it shows, ``own_path`` that it may hold more modules."""

    path: str
    tree: Optional[ast.Module] = None
    failure: Optional[ParseFailure] = None
    not_as_script: Optional[ParseFailure] = None
    imports: tuple[Import, ...] = ()
    dynamic: bool = False
    names: frozenset[str] = frozenset()
    stars: tuple[Import, ...] = ()
    open_names: bool = False
    own_path: bool = False
    search_additions: tuple[ast.expr, ...] = ()
    assigned: dict[str, list[ast.expr]] = field(default_factory=dict)
    injected_modules: frozenset[str] = frozenset()
    declared_global: frozenset[str] = frozenset()
    future_annotations: bool = False

    @property
    def is_python(self) -> bool:
        """By its name; a script without any suffix is taken for Python."""
        return self.path.endswith((".py", ".pyw")) or "." not in self.path.rpartition("/")[2]


def read_source(root: str, path: str) -> SourceFile:
    """Parse ``root/path`` as the interpreter would (PEP 263 included). Never raises for its content."""
    try:
        with open(Path(root, path), "rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        return SourceFile(path, failure=ParseFailure(f"cannot be read: {error.strerror}", 1, unread=True))
    if len(content) > LARGEST:
        return SourceFile(path, failure=ParseFailure(f"is larger than {LARGEST // 1024 // 1024} MiB", 1, unread=True))
    parsed = parse(content)
    if isinstance(parsed, ParseFailure):
        return SourceFile(path, failure=parsed)
    source = _describe(path, parsed, content)
    source.not_as_script = undeclared_encoding(content)
    return source


@contextmanager
def collector_paused() -> Iterator[None]:
    """While many trees are made: the collector would go through every one made so far again and again,
    and trees hold no cycles (measured: a third of an audit's time)."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def parse(content: bytes) -> Union[ast.Module, ParseFailure]:
    """The syntax tree, or why there is none. What only the compiler refuses (``return`` outside a
    function, a late ``from __future__``) counts as well: such a file cannot be started either."""
    try:
        with collector_paused(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
            compile(content, "<source>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return ParseFailure(error.msg or "invalid syntax", max(1, error.lineno or 1))
    except (RecursionError, MemoryError):
        return ParseFailure("is nested too deeply for the interpreter", 1)
    except (ValueError, OverflowError, LookupError) as error:
        return ParseFailure(str(error).partition("\n")[0], 1)
    return tree


def undeclared_encoding(content: bytes) -> Optional[ParseFailure]:
    """Bytes that are no UTF-8 where no other encoding is declared. The interpreter refuses them in a
    script, even in a comment, and lets them pass in a comment of a module that is imported."""
    head = content.split(b"\n", 2)[:2]
    if any(re.match(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", line) for line in head):
        return None
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        return ParseFailure(f"byte {content[error.start]:#04x} is no UTF-8, and no encoding is declared", line)
    return None


def _describe(path: str, tree: ast.Module, content: bytes) -> SourceFile:
    """Everything that later questions need. Expressions are looked into only where the text has a
    word that matters: statements alone are a small part of a tree."""
    source = SourceFile(path, tree=tree)
    imports: list[Import] = []
    for node in every_statement(tree.body):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports.extend(imports_of(node))
        elif isinstance(node, ast.Global):
            source.declared_global |= frozenset(node.names)
    telling = [number for number, line in enumerate(content.splitlines(), 1) if _TELLING.search(line)]
    if telling:
        _describe_expressions(source, tree, telling, imports)
    source.imports = tuple(imports)
    source.names = frozenset(bound_names(tree.body)) | source.declared_global
    source.stars = tuple(
        found
        for node in every_statement(tree.body, inner_scopes=False)
        if isinstance(node, ast.ImportFrom)
        for found in imports_of(node)
        if found.star
    )
    source.future_annotations = any(
        found.module == "__future__" and any(name == "annotations" for name, _bound in found.names) for found in imports
    )
    source.open_names = source.open_names or "__getattr__" in source.names
    return source


def _describe_expressions(source: SourceFile, tree: ast.Module, telling: list[int], imports: list[Import]) -> None:
    additions: list[ast.expr] = []
    injected: set[str] = set()
    for node in every_statement(tree.body):
        if isinstance(node, ast.AugAssign) and dotted(node.target) == "sys.path":
            additions.append(node.value)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                _note_assignment(source, target, node.value, additions, injected)
        elif isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            elements = node.iter.elts if isinstance(node.iter, (ast.List, ast.Tuple, ast.Set)) else [node.iter]
            source.assigned.setdefault(node.target.id, []).extend(elements)
        for expression in _own_expressions(node, telling):
            if isinstance(expression, ast.Call):
                source.dynamic = _imports_by_call(expression, imports) or source.dynamic
                source.open_names = source.open_names or _binds_by_call(expression)
                additions.extend(_search_additions(expression))
            elif getattr(expression, "attr", getattr(expression, "id", None)) in ("__path__", "meta_path"):
                source.own_path = True
    source.search_additions = tuple(additions)
    source.injected_modules = frozenset(injected)


def _own_expressions(node: ast.AST, telling: list[int]) -> Iterator[ast.AST]:
    """Expressions of a statement that covers one of the ``telling`` lines, not those of statements in it."""
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    if bisect_left(telling, first) < bisect_right(telling, last):
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, (ast.stmt, ast.excepthandler)):
                yield from ast.walk(child)


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a chain of attributes on a name, else an empty string."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def imports_of(node: Union[ast.Import, ast.ImportFrom]) -> list[Import]:
    if isinstance(node, ast.Import):
        return [
            Import(alias.name, 0, node.lineno, bound_as=alias.asname or alias.name.partition(".")[0])
            for alias in node.names
        ]
    names = tuple((alias.name, alias.asname or alias.name) for alias in node.names)
    return [Import(node.module or "", node.level, node.lineno, names)]


def is_main_test(test: ast.expr) -> bool:
    """Whether an ``if`` asks for ``__name__ == "__main__"``."""
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = [test.left, test.comparators[0]]
    return any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides) and any(
        isinstance(side, ast.Constant) and side.value == "__main__" for side in sides
    )


def every_statement(body: Sequence[ast.AST], *, inner_scopes: bool = True) -> Iterator[ast.AST]:
    """Statements at any depth, and the ``except`` and ``case`` clauses between them, in no order;
    without ``inner_scopes`` only those that run in the scope of ``body``."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if inner_scopes or not isinstance(node, Scope):
            for part in _BLOCKS.get(type(node), ()):
                waiting.extend(getattr(node, part))


def module_level(statements: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Every node that runs in the scope of ``statements``, without the bodies of inner scopes."""
    waiting: list[ast.AST] = list(reversed(statements))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Scope):
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def bound_names(statements: Sequence[ast.AST]) -> Iterator[str]:
    """Names that these statements may bind in their own scope, on whatever branch."""
    for node in module_level(statements):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                yield node.id
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Import):
            yield from (found.bound_as for found in imports_of(node))
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        else:
            yield from _bound_by_newer_syntax(node)


def _bound_by_newer_syntax(node: ast.AST) -> list[str]:
    """Names bound by patterns and type aliases, which Python 3.9 has no classes for."""
    attribute = {"MatchAs": "name", "MatchStar": "name", "MatchMapping": "rest"}.get(type(node).__name__, "")
    name = getattr(node, attribute, None) if attribute else None
    return [name] if isinstance(name, str) else []


def _imports_by_call(node: ast.Call, imports: list[Import]) -> bool:
    """Note ``importlib.import_module("x")`` and its like; True where the name is computed."""
    called = dotted(node.func)
    if called not in ("importlib.import_module", "import_module", "__import__", "runpy.run_module", "run_module"):
        return called in (
            "runpy.run_path",
            "run_path",
            "importlib.util.spec_from_file_location",
            "spec_from_file_location",
        )
    name = node.args[0] if node.args else None
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        level = len(name.value) - len(name.value.lstrip("."))
        imports.append(Import(name.value[level:], level, node.lineno))
        return level > 0
    return True


def _binds_by_call(node: ast.Call) -> bool:
    called = dotted(node.func)
    if called == "setattr" and node.args:
        target = node.args[0]
        return isinstance(target, ast.Subscript) and dotted(target.value) == "sys.modules"
    return called in ("exec", "globals") or called.endswith("._convert_")


def _search_additions(node: ast.Call) -> list[ast.expr]:
    called = dotted(node.func)
    if called == "sys.path.insert" and len(node.args) == 2:
        return [node.args[1]]
    if called in ("sys.path.append", "sys.path.extend", "site.addsitedir") and node.args:
        return [node.args[0]]
    return []


def _note_assignment(
    source: SourceFile, target: ast.expr, value: ast.expr, additions: list[ast.expr], injected: set[str]
) -> None:
    if isinstance(target, ast.Name):
        source.assigned.setdefault(target.id, []).append(value)
    elif dotted(target) == "sys.path":
        additions.append(value)
    elif isinstance(target, ast.Subscript):
        if dotted(target.value) == "sys.path":
            additions.append(value)
        elif dotted(target.value) == "sys.modules":
            key: ast.AST = target.slice
            key = getattr(key, "value", key) if type(key).__name__ == "Index" else key
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                injected.add(key.value)
            else:  # most likely itself, by a lazy stand-in
                source.open_names = True
        elif isinstance(target.value, ast.Call) and dotted(target.value.func) == "globals":
            source.open_names = True
