# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an agent stands on the shared base class: from syntax trees, through every import.

A script's agent class is looked for where the script starts: in what its ``__main__`` block and its
module level refer to, followed through local and imported functions, so that a script which only
imports a class and runs it is understood. Then the bases are followed, file by file.
"""

from __future__ import annotations

import ast
import os
import re
from collections import deque
from dataclasses import dataclass
from typing import Optional, Sequence

from ..fleet.source_file import dotted, every_statement, imports_of, is_main_test
from ..fleet.source_tree import SearchPath, SourceTree
from .references import local_imports, module_called, modules_run, names_bound_by, references

DEEPEST = 30
"""Steps through imports, aliases and bases after which a class counts as somebody else's."""

MOST_FUNCTIONS = 400
"""Functions that a script's start is followed through."""


@dataclass(frozen=True)
class BaseClass:
    """The class that every agent should stand on: its name, and the file that defines it."""

    name: str = "BaseAgent"
    file: str = "common/core/base_agent.py"

    @property
    def module(self) -> str:
        return self.file[:-3].replace("/", ".") if self.file.endswith(".py") else self.file


@dataclass(frozen=True)
class Standing:
    """``kind`` is ``direct indirect unparsed unknown stub none`` (``unknown``: the parent's module is
    missing); ``chain`` names what was followed, as
    ``file:Class``; ``file`` and ``line`` are where it was decided; ``fallback`` is the line of a
    local stub of the base class that stands by in case the import fails, else None."""

    kind: str
    file: str
    line: int
    chain: tuple[str, ...] = ()
    detail: str = ""
    fallback: Optional[int] = None


@dataclass(frozen=True)
class _Class:
    file: str
    node: ast.ClassDef


@dataclass(frozen=True)
class _Function:
    file: str
    node: ast.AST


@dataclass(frozen=True)
class _Outside:
    """Something that the tree does not hold, by the name under which it was imported; ``missing`` where
    it should."""

    name: str
    missing: bool = False


@dataclass(frozen=True)
class _Broken:
    """A file on the way that does not parse."""

    file: str
    line: int


@dataclass(frozen=True)
class _Module:
    file: Optional[str]
    module: str
    importer: str


_Answer = tuple[str, tuple[str, ...], tuple[str, int]]
"""Kind, the chain from the first base on, and the file and line where it was decided."""


class Inheritance:
    """Answers for scripts that share one search path."""

    def __init__(self, tree: SourceTree, path: SearchPath, base: BaseClass) -> None:
        self._tree = tree
        self._path = path
        self._base = base
        base_source = tree.file(base.file) if tree.is_file(base.file) else None
        self._base_stands = base_source is not None and (base_source.tree is None or base.name in base_source.names)
        self._bindings: dict[str, dict[str, list[ast.AST]]] = {}
        self._names: dict[tuple[str, str], list[object]] = {}
        self._followed: dict[int, _Answer] = {}

    def of(self, script: str, agent: str) -> Standing:
        source = self._tree.file(script)
        if not source.is_python:
            return Standing("none", script, 1, detail="is no Python")
        failure = source.failure or source.not_as_script
        if failure is not None:
            return Standing("unparsed", script, failure.line, detail=failure.message)
        started, broken = self._started(script)
        standings = [self._standing(found, script) for found in self._agent_classes(script, agent, started)]
        if not standings and broken:
            return Standing("unparsed", broken[0].file, broken[0].line, detail="does not parse")
        best = min(standings, key=lambda one: _RANK[one.kind], default=Standing("none", script, 1))
        stub = self._stub_line(script) if best.kind in ("direct", "indirect") else None
        return Standing(best.kind, best.file, best.line, best.chain, best.detail, stub)

    def _agent_classes(self, script: str, agent: str, started: Sequence[_Class]) -> Sequence[_Class]:
        """Which of several classes is the agent: a started one of its name; else the started ones,
        where one of them is the script's own or stands on the base, and the script's class of the
        agent's name; else all of the script's classes."""
        local = [_Class(script, node) for node in self._local_classes(script)]
        named = [found for found in started if _same_name(found.node.name, agent)]
        if named:
            return named
        named = [found for found in local if _same_name(found.node.name, agent)]
        if any(found.file == script or self._standing(found, script).kind != "none" for found in started):
            return [*started, *named]
        return named or local

    def _local_classes(self, script: str) -> Sequence[ast.ClassDef]:
        """The script's classes, those that stand in an ``if`` or a ``try`` included; where there is
        none, those that a function makes."""
        body = _body(self._tree, script)
        for inner in (False, True):
            found = [node for node in every_statement(body, inner_scopes=inner) if isinstance(node, ast.ClassDef)]
            if found:
                return found
        return []

    def _standing(self, found: _Class, script: str) -> Standing:
        name = f"{found.file}:{found.node.name}"
        if self._is_base(found):
            return Standing("indirect", found.file, found.node.lineno, (name,))
        kind, tail, place = self._follow(found, DEEPEST)
        if kind == "direct" and (found.file != script or len(tail) > 1):
            kind = "indirect"
        file, line = place if kind in ("unparsed", "stub") else (found.file, found.node.lineno)
        detail = "does not parse" if kind == "unparsed" else ""
        return Standing(kind, file, line, (name, *tail), detail)

    def _follow(self, found: _Class, depth: int) -> _Answer:
        """The best standing over the class's bases, with the chain that leads there."""
        key = id(found.node)
        if key not in self._followed:
            best: _Answer = ("none", (), (found.file, found.node.lineno))
            self._followed[key] = best
            for expression in found.node.bases if depth > 0 else []:
                for base in self._preferred(self._resolve(expression, found.file, depth)):
                    answer = self._base_standing(base, depth)
                    if _RANK[answer[0]] < _RANK[best[0]]:
                        best = answer
            self._followed[key] = best
        return self._followed[key]

    def _base_standing(self, base: object, depth: int) -> _Answer:
        if isinstance(base, _Outside):
            kind = "direct" if self._means_base(base.name) else "unknown" if base.missing else "none"
            return kind, (base.name,), ("", 1)
        if isinstance(base, _Broken):
            return "unparsed", (base.file,), (base.file, base.line)
        if not isinstance(base, _Class):
            return "none", (), ("", 1)
        name = f"{base.file}:{base.node.name}"
        place = (base.file, base.node.lineno)
        if self._is_base(base):
            return "direct", (name,), place
        kind, tail, found_at = self._follow(base, depth - 1)
        if kind == "none" and base.node.name == self._base.name:
            return "stub", (name,), place
        return kind, (name, *tail), found_at

    def _is_base(self, found: _Class) -> bool:
        """The class itself. A project without the declared file may keep it elsewhere, in a file of
        the same name."""
        if found.node.name != self._base.name:
            return False
        if self._base_stands:
            return found.file == self._base.file
        return found.file.rpartition("/")[2] == self._base.file.rpartition("/")[2] and found.node in _body(
            self._tree, found.file
        )

    def _means_base(self, name: str) -> bool:
        """Whether a name that the tree does not hold under its search path is the base class all the
        same: ``core.base_agent.BaseAgent`` is, where the code adds ``common`` in a way nobody can read."""
        module, _dot, imported = name.lstrip(".").rpartition(".")
        return imported == self._base.name and f".{self._base.module}".endswith(f".{module}")

    def _preferred(self, candidates: Sequence[object]) -> Sequence[object]:
        """Of the alternatives that a try, or an if, offers for one name: the base class itself, else
        what the tree holds (a stub takes the place of an import that finds nothing)."""
        real = [one for one in candidates if isinstance(one, _Class) and self._is_base(one)]
        classes = [one for one in candidates if isinstance(one, _Class)]
        return real or classes or candidates

    # what a name means

    def _resolve(self, node: ast.expr, file: str, depth: int) -> list[object]:
        """Every class, function, module or outside name that the expression may be."""
        if depth <= 0:
            return []
        if isinstance(node, ast.Name):
            return self._resolve_name(node.id, file, depth)
        if isinstance(node, ast.Attribute):
            found: list[object] = []
            for owner in self._resolve(node.value, file, depth - 1):
                found += self._member(owner, node.attr, depth - 1)
            return found
        if isinstance(node, ast.Subscript):
            return self._resolve(node.value, file, depth - 1)
        if isinstance(node, ast.IfExp):
            return [*self._resolve(node.body, file, depth - 1), *self._resolve(node.orelse, file, depth - 1)]
        if isinstance(node, ast.BoolOp):
            return [one for value in node.values for one in self._resolve(value, file, depth - 1)]
        if isinstance(node, ast.Call):
            called = module_called(node)
            return [self._module(called, file)] if called else self._resolve(node.func, file, depth - 1)
        return []

    def _resolve_name(self, name: str, file: str, depth: int) -> list[object]:
        key = (file, name)
        if key in self._names:
            return self._names[key]
        self._names[key] = []
        found: list[object] = []
        for node in self._bound(file).get(name, []):
            found += self._binding(node, name, file, depth - 1)
        if not found:
            for star in self._tree.file(file).stars:
                module = self._tree.find_import(file, star, self._path)
                if module is not None and module.file is not None and not module.missing:
                    found += self._in_file(module.file, name, depth - 1)
        self._names[key] = found
        return found

    def _binding(self, node: ast.AST, name: str, file: str, depth: int) -> list[object]:
        if isinstance(node, ast.ClassDef):
            return [_Class(file, node)]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return [_Function(file, node)]
        if isinstance(node, ast.Assign):
            if isinstance(node.value, ast.Name) and node.value.id == name:
                return []
            return self._resolve(node.value, file, depth)
        if isinstance(node, ast.Import):
            for imported in imports_of(node):
                if imported.bound_as == name:
                    whole = any(alias.asname == name for alias in node.names)
                    module = imported.module if whole else name
                    return [self._module(module, file)]
        if isinstance(node, ast.ImportFrom):
            for imported in imports_of(node):
                for original, bound in imported.names:
                    if bound == name:
                        return self._imported(file, node, original, depth)
        return []

    def _imported(self, file: str, node: ast.ImportFrom, original: str, depth: int) -> list[object]:
        imported = imports_of(node)[0]
        module = self._tree.find_import(file, imported, self._path)
        outside = _Outside(f"{'.' * imported.level}{imported.module}.{original}")
        if module is None and not imported.level and original == self._base.name:
            copies = self._tree.elsewhere(imported.module)
            if copies:
                return self._in_file(max(copies, key=lambda copy: _shared_folders(copy, file)), original, depth)
        if module is None or module.opaque:
            return [outside]
        if module.missing:
            ours = bool(module.executed) or self._tree.holds_source(module.folders)
            return [_Outside(outside.name, missing=ours)]
        if module.file is not None:
            found = self._in_file(module.file, original, depth)
            if found:
                return found
        submodule = self._tree.submodule(module, original)
        if submodule is not None:
            return [_Module(submodule.file, f"{imported.module}.{original}".lstrip("."), file)]
        defined = module.file is not None and original in self._tree.file(module.file).names
        return [_Outside(outside.name, missing=not defined)]

    def _in_file(self, file: str, name: str, depth: int) -> list[object]:
        source = self._tree.file(file)
        if source.tree is None:
            is_base = file == self._base.file and name == self._base.name
            if is_base:
                return [_Outside(f"{self._base.module}.{self._base.name}")]
            return [_Broken(file, source.failure.line if source.failure else 1)]
        return self._resolve_name(name, file, depth)

    def _module(self, module: str, importer: str) -> object:
        found = self._tree.find(module, self._path)
        return _Module(None if found is None or found.missing else found.file, module, importer)

    def _member(self, owner: object, name: str, depth: int) -> list[object]:
        if isinstance(owner, _Outside):
            return [_Outside(f"{owner.name}.{name}", owner.missing)]
        if isinstance(owner, _Class):
            return [owner]
        if not isinstance(owner, _Module):
            return []
        found = self._in_file(owner.file, name, depth) if owner.file else []
        if found:
            return found
        deeper = f"{owner.module}.{name}"
        module = self._tree.find(deeper, self._path)
        if module is not None and not module.missing:
            return [_Module(module.file, deeper, owner.importer)]
        return [_Outside(deeper)]

    def _bound(self, file: str) -> dict[str, list[ast.AST]]:
        """Name to everything that binds it at module level."""
        if file not in self._bindings:
            bindings: dict[str, list[ast.AST]] = {}
            source = self._tree.file(file)
            for node in every_statement(source.tree.body if source.tree else [], inner_scopes=False):
                for name in names_bound_by(node):
                    bindings.setdefault(name, []).append(node)
            self._bindings[file] = bindings
        return self._bindings[file]

    # what a script starts

    def _started(self, script: str) -> tuple[list[_Class], list[_Broken]]:
        """Classes and broken files that the script's start refers to, through the functions it calls."""
        waiting = deque((script, node) for node in self._running(script))
        seen: set[int] = set()
        run = {script}
        classes: dict[int, _Class] = {}
        broken: list[_Broken] = []
        while waiting and len(seen) < MOST_FUNCTIONS:
            file, scope = waiting.popleft()
            local = local_imports(scope)
            for module in modules_run(scope):
                found = self._tree.find(module, self._path)
                if found is not None and found.file is not None and found.file not in run:
                    run.add(found.file)
                    waiting.extend((found.file, node) for node in self._running(found.file))
            for node in references(scope):
                for target in self._referred(node, file, local):
                    if isinstance(target, _Function) and id(target.node) not in seen:
                        seen.add(id(target.node))
                        waiting.append((target.file, target.node))
                    elif isinstance(target, _Class) and self._is_agent_like(target, script):
                        classes.setdefault(id(target.node), target)
                    elif isinstance(target, _Broken):
                        broken.append(target)
        return list(classes.values()), broken

    def _running(self, file: str) -> Sequence[ast.AST]:
        """What of a file runs when it is started: its ``__main__`` block, else its module-level
        statements; and functions that a decorator registers with somebody who calls them."""
        source = self._tree.file(file)
        body = source.tree.body if source.tree else []
        registered = [
            node for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.decorator_list
        ]
        blocks = [node for node in body if isinstance(node, ast.If) and is_main_test(node.test)]
        if any(self._refers_to_a_class(file, block) for block in blocks):
            return [*blocks, *registered]
        definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Import, ast.ImportFrom)
        return [*(node for node in body if not isinstance(node, definitions)), *registered]

    def _refers_to_a_class(self, file: str, scope: ast.AST) -> bool:
        local = local_imports(scope)
        return any(
            isinstance(target, (_Class, _Function))
            for node in references(scope)
            for target in self._referred(node, file, local)
        )

    def _referred(self, node: ast.expr, file: str, local: dict[str, ast.AST]) -> list[object]:
        name = dotted(node).partition(".")[0]
        if name in local and isinstance(node, ast.Name):
            return self._binding(local[name], name, file, DEEPEST)
        if name in local and isinstance(node, ast.Attribute):
            owners = self._binding(local[name], name, file, DEEPEST)
            return [one for owner in owners for one in self._member(owner, node.attr, DEEPEST)]
        return self._resolve(node, file, DEEPEST)

    def _is_agent_like(self, found: _Class, script: str) -> bool:
        """Exceptions, settings and plain records that a start refers to are no agents."""
        bases = {dotted(base).rpartition(".")[2] for base in found.node.bases}
        if bases & {"Exception", "BaseException", "Enum", "IntEnum", "BaseModel", "NamedTuple", "TypedDict"}:
            return False
        decorators = {dotted(getattr(one, "func", one)).rpartition(".")[2] for one in found.node.decorator_list}
        return "dataclass" not in decorators and (found.file == script or not self._is_base(found))

    def _stub_line(self, script: str) -> Optional[int]:
        for node in self._bound(script).get(self._base.name, []):
            if isinstance(node, ast.ClassDef) and script != self._base.file and not self._is_base(_Class(script, node)):
                return node.lineno
        return None


_RANK = {"direct": 0, "indirect": 1, "unparsed": 2, "unknown": 3, "stub": 4, "none": 5}


def _body(tree: SourceTree, file: str) -> Sequence[ast.AST]:
    source = tree.file(file)
    return source.tree.body if source.tree else []


def _shared_folders(one: str, other: str) -> int:
    """How far two paths go the same way: of two copies a script most likely means the nearer one."""
    return len(os.path.commonpath([f"/{one}", f"/{other}"]))


def _same_name(name: str, agent: str) -> bool:
    """Whether a class is the agent's by name: ``NLUAgent``, ``NluAgent`` and ``NLU`` are one."""
    one, other = (
        re.sub(r"(agent|service|server)$", "", re.sub(r"[^a-z0-9]", "", text.lower())) for text in (name, agent)
    )
    return one == other
