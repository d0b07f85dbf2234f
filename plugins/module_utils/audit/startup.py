# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What will certainly fail when a script starts: imports of modules or names that the project should
hold and does not, and names used at module level that nothing has bound yet.

Only what is certain counts. A branch that may not run, an import that an ``except`` catches, a
module of somebody else's, a name that a star import might bring: none of these is a failure.
"""

from __future__ import annotations

import ast
import builtins
import sys
from dataclasses import dataclass
from typing import Iterator, Sequence

from ..fleet.source_file import Import, bound_names, dotted, every_statement, imports_of, is_main_test
from ..fleet.source_tree import STANDARD_MODULES, FoundModule, SearchPath, SourceTree

DEEPEST = 40
"""Length of an import chain beyond which imports count as sound."""

IMPLICIT = frozenset(dir(builtins)) | {
    "__file__", "__name__", "__doc__", "__package__", "__spec__", "__loader__", "__path__", "__annotations__",
    "__builtins__", "__dict__", "__module__", "__qualname__", "__cached__", "WindowsError", "ExceptionGroup",
    "BaseExceptionGroup", "EncodingWarning", "PythonFinalizationError", "aiter", "anext", "exit", "quit", "_",
}  # fmt: skip

CAUGHT_BY = {
    "module": {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"},
    "undefined": {"NameError", "Exception", "BaseException"},
    "syntax": {"SyntaxError", "Exception", "BaseException"},
}
"""Kind of a failure to the exceptions by which a handler takes it; other kinds are taken as ``module``."""

EAGER_ANNOTATIONS = sys.version_info < (3, 14)


@dataclass(frozen=True)
class Failure:
    """One thing that fails. ``kind`` is ``module name relative syntax undefined``; ``subject`` the
    module or name; ``when`` is ``start`` or, for a statement that may not run, ``later``."""

    kind: str
    file: str
    line: int
    subject: str
    message: str
    when: str = "start"


class Startup:
    """Failures of the scripts that share one search path; results of a module are kept."""

    def __init__(self, tree: SourceTree, path: SearchPath, first_party: frozenset[str]) -> None:
        self.tree = tree
        self.path = path
        self._first_party = first_party
        self._modules: dict[str, tuple[Failure, ...]] = {}
        self._exports: dict[str, tuple[frozenset[str], bool]] = {}
        self._depth = 0

    def script(self, path: str) -> tuple[Failure, ...]:
        """Failures of the script itself and of what it imports at its start, then those of its
        own imports that only some branch or function runs."""
        source = self.tree.file(path)
        if source.tree is None:
            return ()
        certain = _Run(self, path, is_main=True).statements(source.tree.body)
        told = {(failure.file, failure.line) for failure in certain}
        later = [found for found in self._later(path, source.tree) if (found.file, found.line) not in told]
        return tuple(dict.fromkeys([*certain, *later]))

    def module(self, path: str) -> tuple[Failure, ...]:
        """Failures when the file is imported; an import that is already running is sound."""
        if path not in self._modules:
            self._modules[path] = ()
            self._modules[path] = self._run_module(path)
        return self._modules[path]

    def _run_module(self, path: str) -> tuple[Failure, ...]:
        source = self.tree.file(path)
        if source.tree is None:
            failure = source.failure
            line, message = (failure.line, failure.sentence) if failure else (1, "cannot be read")
            return (Failure("syntax", path, line, path, message),)
        if self._depth >= DEEPEST:
            return ()
        self._depth += 1
        found = _Run(self, path, is_main=False).statements(source.tree.body)
        self._depth -= 1
        return tuple(dict.fromkeys(found))

    def exports(self, path: str) -> tuple[frozenset[str], bool]:
        """Names that the module can be asked for, and whether there may be more."""
        if path not in self._exports:
            self._exports[path] = (frozenset(), True)
            source = self.tree.file(path)
            names, more = set(source.names), source.open_names or source.own_path or source.tree is None
            for star in source.stars:
                star_names, star_more = self.star(path, star)
                names |= star_names
                more = more or star_more
            self._exports[path] = (frozenset(names), more)
        return self._exports[path]

    def star(self, importer: str, star: Import) -> tuple[frozenset[str], bool]:
        found = self.tree.find_import(importer, star, self.path)
        if found is None or found.file is None:
            return frozenset(), True
        return self.exports(found.file)

    def import_failures(self, importer: str, imported: Import, *, is_main: bool = False) -> list[Failure]:
        """What goes wrong when the statement runs."""
        line = imported.line
        if imported.level and is_main:
            shown = "." * imported.level + imported.module
            message = f"imports {shown!r} relatively, which a script that is started by its path cannot"
            return [Failure("relative", importer, line, shown, message)]
        found = self.tree.find_import(importer, imported, self.path)
        if found is None or not self._is_ours(imported, found):
            return []
        failures = [failure for path in found.executed for failure in self.module(path)]
        if found.missing:
            failures += self._missing(importer, imported, found)
        elif not found.opaque and not failures:
            failures += self._missing_names(importer, imported, found)
        return failures

    def _is_ours(self, imported: Import, found: FoundModule) -> bool:
        """Whether the tree's package is really what the name means: a mere folder at the top may
        share its name with an installed package, unless it holds source two levels down, where the
        import looks for it. The standard library is never ours."""
        top = imported.module.partition(".")[0]
        if imported.level:
            return True
        if top in STANDARD_MODULES:
            return False
        deep = found.missing is not None and found.missing.count(".") > 1
        return bool(found.executed) or top in self._first_party or (deep and self.tree.holds_source(found.folders))

    def _missing(self, importer: str, imported: Import, found: FoundModule) -> list[Failure]:
        shown = "." * imported.level + imported.module
        places = self.tree.elsewhere(imported.module) if not imported.level else ()
        if places and self.path.open:
            return []
        missing = found.missing or imported.module
        hint = f"; the tree has {places[0]}, but its folder is not searched" if places else ""
        package = missing.rpartition(".")[0]
        where = f"the package {package} is in the project, {missing} is not" if package else f"{missing} is not there"
        return [Failure("module", importer, imported.line, shown, f"imports {shown}: {where}{hint}")]

    def _missing_names(self, importer: str, imported: Import, found: FoundModule) -> list[Failure]:
        failures: list[Failure] = []
        names, more = self.exports(found.file) if found.file else (frozenset(), False)
        for name, _bound in imported.names:
            if name == "*" or name in names or name in IMPLICIT:
                continue
            submodule = self.tree.submodule(found, name)
            if submodule is not None:
                failures += [failure for path in submodule.executed for failure in self.module(path)]
            elif not more and f"{imported.module}.{name}" not in self.path.injected:
                failures += self._missing_name(importer, imported, found, name)
        return failures

    def _missing_name(self, importer: str, imported: Import, found: FoundModule, name: str) -> list[Failure]:
        shown = "." * imported.level + imported.module
        if found.file is None:
            full = f"{imported.module}.{name}"
            if self.path.open and not imported.level and self.tree.elsewhere(full):
                return []
            return [
                Failure("module", importer, imported.line, full, f"imports {full}: the folder holds no such module")
            ]
        message = f"imports {name!r} from {shown}, but {found.file} defines no such name"
        return [Failure("name", importer, imported.line, f"{shown}.{name}", message)]

    def _later(self, path: str, tree: ast.Module) -> Iterator[Failure]:
        """Imports of the script that fail when their branch or function runs, and that nothing catches."""
        for node in _uncaught(tree.body):
            for imported in imports_of(node):
                if imported.level:
                    continue
                for failure in self.import_failures(path, imported):
                    if failure.kind in ("module", "name") and failure.file == path:
                        yield Failure(**{**failure.__dict__, "when": "later"})


def _uncaught(statements: Sequence[ast.AST]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements at any depth that stand in no ``try``, no ``suppress`` and no TYPE_CHECKING."""
    waiting = list(statements)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
            waiting.extend(getattr(node, "finalbody", []))
        elif isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
        elif not (isinstance(node, (ast.With, ast.AsyncWith)) and _suppresses(node)):
            for part in ("body", "orelse", "cases"):
                waiting.extend(getattr(node, part, ()))


class _Run:
    """One module's statements in the order in which they run."""

    def __init__(self, startup: Startup, path: str, *, is_main: bool) -> None:
        self._startup = startup
        self._path = path
        self._is_main = is_main
        source = startup.tree.file(path)
        self._bound = set(IMPLICIT)
        self._check_names = not source.open_names
        self._bound |= source.declared_global
        self._lazy_annotations = source.future_annotations or not EAGER_ANNOTATIONS
        self._anywhere = source.names

    def statements(self, body: Sequence[ast.stmt]) -> list[Failure]:
        """All failures of a script, so that all can be corrected; of an import the first, which ends it."""
        found: list[Failure] = []
        for statement in body:
            found += self._statement(statement)
            if _ends(statement) or (found and not self._is_main):
                break
        return found

    def _statement(self, node: ast.stmt) -> list[Failure]:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return self._import(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return self._function(node)
        if isinstance(node, ast.ClassDef):
            return self._class(node)
        if isinstance(node, ast.If):
            return self._if(node)
        if isinstance(node, ast.Try):
            return self._try(node)
        if isinstance(node, (ast.With, ast.AsyncWith)):
            found = self._names([item.context_expr for item in node.items])
            self._bind([item.optional_vars for item in node.items if item.optional_vars is not None])
            found += [] if _suppresses(node) else self.statements(node.body)
            self._bind(node.body)
            return found
        if isinstance(node, (ast.For, ast.AsyncFor)):
            found = self._names([node.iter])
        elif isinstance(node, ast.While):
            found = self._names([node.test])
        elif isinstance(node, ast.AnnAssign):
            simple = isinstance(node.target, ast.Name) and not self._lazy_annotations
            found = self._names([*([node.value] if node.value else []), *([node.annotation] if simple else [])])
        elif isinstance(node, ast.AugAssign):
            found = self._names([_read(node.target), node.value])
        elif isinstance(node, ast.Assign):
            found = self._names([node.value, *node.targets])
        elif isinstance(node, ast.Expr):
            found = self._names([node.value])
        elif isinstance(node, ast.Assert):
            found = self._names([node.test])
        elif isinstance(node, ast.Raise):
            found = self._names([node.exc] if node.exc else [])
        else:
            found = []
        self._bind([node])
        return found

    def _import(self, node: ast.Import | ast.ImportFrom) -> list[Failure]:
        found: list[Failure] = []
        for imported in imports_of(node):
            found += self._startup.import_failures(self._path, imported, is_main=self._is_main)
            if imported.star:
                names, more = self._startup.star(self._path, imported)
                self._bound |= names
                self._check_names = self._check_names and not more
        self._bind([node])
        return found

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[Failure]:
        arguments = node.args
        evaluated = [*node.decorator_list, *arguments.defaults, *(one for one in arguments.kw_defaults if one)]
        if not self._lazy_annotations and not getattr(node, "type_params", None):
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            evaluated += [one.annotation for one in every if one is not None and one.annotation is not None]
            evaluated += [node.returns] if node.returns is not None else []
        found = self._names(evaluated)
        self._bound.add(node.name)
        return found

    def _class(self, node: ast.ClassDef) -> list[Failure]:
        generic = bool(getattr(node, "type_params", None))
        bases = [] if generic else [*node.bases, *(keyword.value for keyword in node.keywords)]
        found = self._names([*node.decorator_list, *bases])
        outside = set(self._bound)
        checked = self._check_names
        self._check_names = checked and not generic and not node.keywords
        found += self.statements(node.body)
        self._check_names = checked
        self._bound = outside | {node.name}
        return found

    def _if(self, node: ast.If) -> list[Failure]:
        if is_main_test(node.test):
            if self._is_main:
                return self.statements(node.body)
            self._bind(node.body)
            return self.statements(node.orelse)
        found = self._names([node.test])
        self._bind([node])
        return found

    def _try(self, node: ast.Try) -> list[Failure]:
        """What fails in the body counts unless a handler takes it and lets the module go on. A handler
        runs for certain only when the body certainly fails; then the rest of the body binds nothing."""
        failing: list[Failure] = []
        before = self._bound
        for statement in node.body:
            before = set(self._bound)
            failing = self._statement(statement)
            if failing or _ends(statement):
                break
        taken = next((handler for handler in node.handlers if failing and _takes(handler, failing[0])), None)
        if taken is None:
            found = failing or self.statements(node.orelse)
            self._bind([node])
            return found + self.statements(node.finalbody)
        self._bound = before | ({taken.name} if taken.name else set())
        handled = self.statements(taken.body)
        ends = any(_ends(statement) for statement in taken.body)
        return [*(failing if ends else []), *handled, *self.statements(node.finalbody)]

    def _bind(self, statements: Sequence[ast.AST]) -> None:
        self._bound.update(bound_names(statements))
        for node in every_statement(statements, inner_scopes=False):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                for star in imports_of(node):
                    names, more = self._startup.star(self._path, star)
                    self._bound |= names
                    self._check_names = self._check_names and not more

    def _names(self, expressions: Sequence[ast.expr]) -> list[Failure]:
        found: list[Failure] = []
        for node in _evaluated(expressions):
            if isinstance(node, ast.NamedExpr):
                self._bound.update(bound_names([ast.Expr(node)]))
            elif isinstance(node, ast.Name) and node.id not in self._bound and self._check_names:
                when = "before anything binds it" if node.id in self._anywhere else "and nothing binds it"
                message = f"uses the name {node.id!r} at module level {when}"
                found.append(Failure("undefined", self._path, node.lineno, node.id, message))
                self._bound.add(node.id)
        return found


def _evaluated(expressions: Sequence[ast.expr]) -> Iterator[ast.expr]:
    """Names that are certainly read when the expressions are evaluated, left to right; what a short
    circuit, a lambda or a comprehension may leave out is left out."""
    waiting: list[ast.AST] = list(reversed(expressions))
    while waiting:
        node = waiting.pop()
        following: list[ast.AST] = []
        if isinstance(node, ast.NamedExpr):
            following = [node.value]
            yield node
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                yield node
        elif isinstance(node, ast.Lambda):
            following = [*node.args.defaults, *(one for one in node.args.kw_defaults if one)]
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            following = [node.generators[0].iter]
        elif isinstance(node, ast.BoolOp):
            following = [node.values[0]]
        elif isinstance(node, ast.IfExp):
            following = [node.test]
        elif isinstance(node, ast.Compare):
            following = [node.left, node.comparators[0]]
        else:
            following = list(ast.iter_child_nodes(node))
        waiting.extend(reversed(following))


def _read(target: ast.expr) -> ast.expr:
    """The target of ``x += 1`` as what it also is: a name that is read."""
    return ast.copy_location(ast.Name(target.id, ast.Load()), target) if isinstance(target, ast.Name) else target


def _ends(node: ast.stmt) -> bool:
    """Whether the module surely stops here."""
    if isinstance(node, ast.Raise):
        return True
    called = dotted(node.value.func) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else ""
    return called in ("sys.exit", "exit", "quit", "os._exit", "os.abort")


def _takes(handler: ast.ExceptHandler, failure: Failure) -> bool:
    """Whether the handler catches what the failure raises."""
    if handler.type is None:
        return True
    errors = CAUGHT_BY.get(failure.kind, CAUGHT_BY["module"])
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(dotted(one).rpartition(".")[2] in errors or not dotted(one) for one in types)


def _suppresses(node: ast.With | ast.AsyncWith) -> bool:
    calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
    return any(dotted(call.func).rpartition(".")[2] in ("suppress", "raises") for call in calls)
