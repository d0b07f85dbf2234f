# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a piece of a syntax tree binds, imports and refers to."""

from __future__ import annotations

import ast
from typing import Iterator

from ..fleet.source_file import dotted, imports_of


def names_bound_by(node: ast.AST) -> Iterator[str]:
    """The names that one statement gives a meaning to."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.Import):
        yield from (imported.bound_as for imported in imports_of(node))
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)


def references(scope: ast.AST) -> Iterator[ast.expr]:
    """Names and attributes that the code refers to, those of nested functions included."""
    for node in ast.walk(scope):
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load) and dotted(node):
            yield node


def module_called(node: ast.Call) -> str:
    """``a.b`` of ``importlib.import_module("a.b")``."""
    by_name = node.args and dotted(node.func) in ("importlib.import_module", "import_module")
    name = getattr(node.args[0], "value", None) if by_name else None
    return name if isinstance(name, str) else ""


def modules_run(scope: ast.AST) -> Iterator[str]:
    """``runpy.run_module("a.b")`` runs that module as if it were the script."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and dotted(node.func) in ("runpy.run_module", "run_module") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value


def local_imports(scope: ast.AST) -> dict[str, ast.AST]:
    """Name to the import, anywhere in the scope, that binds it."""
    return {
        name: node
        for node in ast.walk(scope)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in names_bound_by(node)
    }
