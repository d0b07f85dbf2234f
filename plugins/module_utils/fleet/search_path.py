# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which folders a source file adds to ``sys.path``, read from its expressions without running it."""

from __future__ import annotations

import ast
import os
import posixpath
from typing import Mapping, Optional, Sequence

from .source_file import SourceFile, dotted

DEPTH = 24
"""How many names and calls an expression may go through before it counts as unknown."""

_SAME = {
    "os.path.abspath", "os.path.realpath", "os.path.normpath", "os.path.expanduser", "os.fspath", "os.fsdecode",
    "str", "Path", "pathlib.Path", "PurePath", "abspath", "realpath", "normpath", "list", "tuple",
}  # fmt: skip
_SAME_METHODS = {"resolve", "absolute", "as_posix", "expanduser", "__str__", "strip"}
_HERE = {"os.getcwd", "Path.cwd", "pathlib.Path.cwd", "os.curdir"}


class PathExpressions:
    """Evaluates path expressions of one file. A value is a set of absolute paths; None is unknown."""

    def __init__(self, root: str, source: SourceFile) -> None:
        self._root = root
        self._source = source
        self._file = posixpath.join(root, source.path)

    def folders(self) -> tuple[tuple[str, ...], bool]:
        """Folders inside the root, relative to it, in the order of the file; and whether some
        addition could not be read."""
        found: dict[str, None] = {}
        unknown = False
        for expression in self._source.search_additions:
            paths = self._paths(expression, DEPTH)
            if paths is None:
                unknown = True
                continue
            for path in sorted(paths):
                inside = relative_to_root(self._root, path)
                if inside is not None:
                    found.setdefault(inside)
        return tuple(found), unknown

    def _paths(self, node: ast.expr, depth: int) -> Optional[set[str]]:
        if depth == 0:
            return None
        if isinstance(node, ast.Constant):
            return {node.value} if isinstance(node.value, str) else None
        if isinstance(node, ast.Starred):
            return self._paths(node.value, depth - 1)
        if isinstance(node, (ast.List, ast.Tuple)):
            return self._union(node.elts, depth)
        if isinstance(node, ast.IfExp):
            return self._union([node.body, node.orelse], depth)
        if isinstance(node, ast.BinOp):
            return self._joined(node, depth)
        if isinstance(node, ast.Subscript):
            return self._parents(node, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if isinstance(node, ast.Name):
            if node.id == "__file__":
                return {self._file}
            return self._union(self._source.assigned[node.id], depth) if node.id in self._source.assigned else None
        if isinstance(node, ast.Attribute):
            return self._attribute(node, depth)
        return None

    def _union(self, nodes: Sequence[ast.expr], depth: int) -> Optional[set[str]]:
        found: set[str] = set()
        for node in nodes:
            paths = self._paths(node, depth - 1)
            if paths is None or len(found) > 64:
                return None
            found |= paths
        return found

    def _attribute(self, node: ast.Attribute, depth: int) -> Optional[set[str]]:
        name = dotted(node)
        if name == "sys.path":
            return set()
        if name in ("os.curdir", "os.pardir"):
            return {"." if name == "os.curdir" else ".."}
        if node.attr == "parent":
            return self._each(node.value, os.path.dirname, depth)
        return None

    def _each(self, node: ast.expr, change: object, depth: int) -> Optional[set[str]]:
        paths = self._paths(node, depth - 1)
        return None if paths is None or not callable(change) else {str(change(self._absolute(path))) for path in paths}

    def _parents(self, node: ast.Subscript, depth: int) -> Optional[set[str]]:
        index = _constant(node.slice)
        if isinstance(node.value, ast.Attribute) and node.value.attr == "parents" and isinstance(index, int):
            paths = self._paths(node.value.value, depth - 1)
            if paths is None or not 0 <= index < 64:
                return None
            for _step in range(index + 1):
                paths = {os.path.dirname(self._absolute(path)) for path in paths}
            return paths
        return None

    def _joined(self, node: ast.BinOp, depth: int) -> Optional[set[str]]:
        left, right = self._paths(node.left, depth - 1), self._paths(node.right, depth - 1)
        if left is None or right is None:
            return None
        if isinstance(node.op, ast.Div):
            return {posixpath.join(one, other) for one in left for other in right}
        if isinstance(node.op, ast.Add):
            lists = (ast.List, ast.Tuple, ast.Attribute)
            if isinstance(node.left, lists) or isinstance(node.right, lists):
                return left | right
            return {one + other for one in left for other in right}
        return None

    def _call(self, node: ast.Call, depth: int) -> Optional[set[str]]:
        called = dotted(node.func)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else called
        if called in _HERE:
            return {self._root}
        if called in ("os.path.dirname", "dirname") and len(node.args) == 1:
            return self._each(node.args[0], os.path.dirname, depth)
        if called in ("os.path.join", "Path", "pathlib.Path", "join") and node.args:
            return self._join(node.args, depth)
        if called in _SAME and len(node.args) == 1:
            return self._paths(node.args[0], depth - 1)
        if called in ("os.environ.get", "os.getenv") and len(node.args) == 2:
            return self._paths(node.args[1], depth - 1)
        if "project_root" in method or "repo_root" in method:
            return {self._root}
        if method == "join_path" and node.args and not node.keywords:
            return self._join([ast.Constant(self._root), *node.args], depth)
        if method.startswith("get_") and not node.args and os.path.isdir(os.path.join(self._root, method[4:])):
            return {posixpath.join(self._root, method[4:])}
        if isinstance(node.func, ast.Attribute):
            if method in _SAME_METHODS:
                return self._paths(node.func.value, depth - 1)
            if method == "joinpath":
                return self._join([node.func.value, *node.args], depth)
        return None

    def _join(self, nodes: Sequence[ast.expr], depth: int) -> Optional[set[str]]:
        joined: Optional[set[str]] = None
        for node in nodes:
            paths = self._paths(node, depth - 1)
            if paths is None or (joined is not None and len(joined) > 64):
                return None
            joined = paths if joined is None else {posixpath.join(one, other) for one in joined for other in paths}
        return joined

    def _absolute(self, path: str) -> str:
        return os.path.normpath(posixpath.join(self._root, path))


def _constant(node: ast.AST) -> object:
    inner = getattr(node, "value", None)
    return _constant(inner) if type(node).__name__ == "Index" and isinstance(inner, ast.AST) else inner


def relative_to_root(root: str, path: str) -> Optional[str]:
    """``path`` as the tree names it (``""`` for the root itself), or None where it lies outside.
    A relative path is taken from the root, which is where agents are started."""
    if "\0" in path:
        return None
    absolute = os.path.normpath(os.path.join(root, path))
    if absolute == root:
        return ""
    return os.path.relpath(absolute, root).replace(os.sep, "/") if absolute.startswith(root.rstrip("/") + "/") else None


def environment_folders(root: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The folders inside the root that an agent's declared ``PYTHONPATH`` names. ``${PWD}`` is the
    root; what else is not known here, such as ``${PYTHONPATH}``, names nothing."""
    declared = environment.get("PYTHONPATH", "")
    found: dict[str, None] = {}
    for entry in declared.split(":"):
        path = entry.replace("${PWD}", root).replace("$PWD", root)
        if path and "$" not in path:
            inside = relative_to_root(root, path)
            if inside is not None:
                found.setdefault(inside)
    return tuple(found)
