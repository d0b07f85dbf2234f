# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project that agents run from: its scripts, its modules as Python would find them, and which
files an agent's process is made of. Nothing is imported or run; each file is parsed once."""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping, Optional, Sequence

from ..errors import ContinuityError
from .search_path import PathExpressions, environment_folders, relative_to_root
from .source_file import Import, SourceFile, read_source

MOST_FOLDERS = 50_000
"""How many folders a search through the whole tree reads; a larger tree counts as not searchable."""

_EXTENSIONS = (".so", ".pyd", ".pyc")
_NOT_OURS = {"node_modules", "site-packages", "__pycache__", "venv", "env"}

_SET_ASIDE = re.compile(r"(?:^|/)[^/]*(?:archive|backup|trash|deprecated|legacy)[^/]*/", re.IGNORECASE)
"""Folders of code that is kept and not run."""


class ScriptError(ContinuityError):
    """A script_path that cannot be started."""


class ScriptMissing(ScriptError):
    """There is no such file."""


class ScriptOutsideRoot(ScriptError):
    """The path, or the link it is, leads out of the project."""


@dataclass(frozen=True)
class ImportClosure:
    """What an agent's process is made of. ``files`` are sorted paths relative to the root, the
    script included; ``unresolved`` are modules that the tree does not hold (third-party ones, and
    those that are missing); ``dynamic`` says that names are also computed at run time."""

    files: tuple[str, ...]
    unresolved: tuple[str, ...]
    dynamic: bool


@dataclass(frozen=True)
class SearchPath:
    """``folders`` relative to the root, in Python's order; ``open`` where the code adds folders that
    cannot be read from it; ``injected`` are modules that the code puts into ``sys.modules``."""

    folders: tuple[str, ...]
    open: bool = False
    injected: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FoundModule:
    """``executed`` are the files that an import of it runs, outermost package first; ``file`` is its
    own (None for a namespace package and for what cannot be examined, which is ``opaque``);
    ``folders`` hold its submodules; ``missing`` is the first dotted part that the tree lacks although
    it holds the package around it."""

    module: str
    file: Optional[str] = None
    executed: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    opaque: bool = False
    missing: Optional[str] = None

    @property
    def namespace(self) -> bool:
        return self.file is None and not self.opaque


def _standard_modules() -> frozenset[str]:
    listed = getattr(sys, "stdlib_module_names", None)
    if listed is not None:
        return frozenset(listed)
    names = set(sys.builtin_module_names)
    for folder in (os.path.dirname(os.__file__), os.path.join(os.path.dirname(os.__file__), "lib-dynload")):
        if os.path.isdir(folder):
            names.update(entry.partition(".")[0] for entry in os.listdir(folder))
    return frozenset(names)


STANDARD_MODULES = _standard_modules()


class SourceTree:
    """A project root. Raises ContinuityError when it is no folder."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        if not os.path.isdir(self.root):
            raise ContinuityError(
                "The project root is no folder", where=root, fix="Give the folder of the agents' code"
            )
        self._files: dict[str, SourceFile] = {}
        self._entries: dict[str, Mapping[str, bool]] = {}
        self._found: dict[tuple[str, tuple[str, ...]], Optional[FoundModule]] = {}
        self._additions: dict[str, tuple[tuple[str, ...], bool]] = {}
        self._paths: dict[tuple[str, tuple[str, ...]], SearchPath] = {}
        self._everywhere: Optional[dict[str, list[str]]] = None

    def resolve_script(self, script_path: str) -> Path:
        """The script's file. Raises ScriptOutsideRoot or ScriptMissing, with what to do."""
        inside = relative_to_root(self.root, script_path) if script_path else None
        if inside is None:
            raise ScriptOutsideRoot(
                f"script_path {script_path!r} leads out of the project root {self.root}",
                fix="Name a file below the project root",
            )
        path = Path(self.root, inside)
        try:
            real = os.path.realpath(path)
            is_file = os.path.isfile(real)
        except OSError as error:
            raise ScriptMissing(f"script_path {script_path!r} cannot be followed: {error.strerror}") from error
        if relative_to_root(self.root, real) is None:
            raise ScriptOutsideRoot(
                f"script_path {script_path!r} is a link that leads out of the project root, to {real}",
                fix="Put the file itself below the project root",
            )
        if not is_file:
            what = "is a folder" if os.path.isdir(real) else "does not exist"
            raise ScriptMissing(f"script_path {script_path!r} {what}", fix=self._where_else(inside))
        return path

    def file(self, path: str) -> SourceFile:
        """The parsed file at ``path`` relative to the root."""
        if path not in self._files:
            self._files[path] = read_source(self.root, path)
        return self._files[path]

    def script(self, script_path: str) -> SourceFile:
        """The parsed script. Raises as ``resolve_script``."""
        return self.file(posixpath.normpath(self.resolve_script(script_path).relative_to(self.root).as_posix()))

    def search_path(self, script: str, environment: Optional[Mapping[str, str]] = None) -> SearchPath:
        """Where the process of ``script`` (relative to the root) looks for modules: the script's own
        folder, what it and the modules it imports add, the declared PYTHONPATH, the root."""
        declared = environment_folders(self.root, environment or {})
        key = (script, declared)
        if key not in self._paths:
            self._paths[key] = self._compute_search_path(script, declared)
        return self._paths[key]

    def _compute_search_path(self, script: str, declared: tuple[str, ...]) -> SearchPath:
        added: dict[str, None] = {}
        while True:
            folders = tuple(dict.fromkeys([posixpath.dirname(script), *added, *declared, ""]))
            path = SearchPath(folders)
            files, _unresolved, _dynamic = self._reachable(script, path)
            unknown = False
            injected: set[str] = set()
            before = len(added)
            for name in files:
                more, some_unknown = self._added_by(name)
                added.update(dict.fromkeys(more))
                unknown = unknown or some_unknown
                injected |= self.file(name).injected_modules
            if len(added) == before:
                return SearchPath(folders, unknown, frozenset(injected))

    def _added_by(self, path: str) -> tuple[tuple[str, ...], bool]:
        if path not in self._additions:
            self._additions[path] = PathExpressions(self.root, self.file(path)).folders()
        return self._additions[path]

    def find(self, module: str, path: SearchPath) -> Optional[FoundModule]:
        """The module as the process would find it; None where not even its top-level package is in
        the tree (a third-party module, most likely)."""
        key = (module, path.folders)
        if key not in self._found:
            self._found[key] = self._in_some_order(module, path.folders)
        found = self._found[key]
        if (
            found is not None
            and found.missing
            and any(found.missing == name or found.missing.startswith(name + ".") for name in path.injected)
        ):
            return FoundModule(module, executed=found.executed, opaque=True)
        return found

    def _in_some_order(self, module: str, folders: Sequence[str]) -> Optional[FoundModule]:
        """In the order of the folders; where that misses a part, in each folder alone, because the
        order in which code adds folders cannot be told for certain."""
        found = self._search(module, folders)
        if found is not None and found.missing:
            alone = (self._search(module, (folder,)) for folder in folders)
            return next((one for one in alone if one is not None and not one.missing), found)
        return found

    def find_relative(self, importer: str, level: int, module: str) -> Optional[FoundModule]:
        """``from ..x import`` in the file ``importer``; None where the dots leave the tree."""
        folder = posixpath.dirname(importer)
        for _step in range(level - 1):
            if not folder:
                return None
            folder = posixpath.dirname(folder)
        if module:
            return self._search(module, (folder,))
        own = posixpath.join(folder, "__init__.py")
        if self.is_file(own):
            return FoundModule("." * level, own, (own,), (folder,))
        return FoundModule("." * level, folders=(folder,))

    def find_import(self, importer: str, imported: Import, path: SearchPath) -> Optional[FoundModule]:
        """The module that an import statement of the file ``importer`` names."""
        if imported.level:
            return self.find_relative(importer, imported.level, imported.module)
        return self.find(imported.module, path)

    def submodule(self, package: FoundModule, name: str) -> Optional[FoundModule]:
        """``from package import name`` where the name is a module; None where there is none."""
        found = self._search(name, package.folders) if package.folders else None
        return found if found is not None and found.missing is None else None

    def elsewhere(self, module: str) -> tuple[str, ...]:
        """Files anywhere in the tree, but for those set aside, that an import of ``module`` could mean
        if only their folder were searched."""
        suffix = module.replace(".", "/")
        last = suffix.rpartition("/")[2]
        wanted = (f"/{suffix}.py", f"/{suffix}/__init__.py")
        candidates = [*self._all_files().get(f"{last}.py", []), *self._all_files().get("__init__.py", [])]
        return tuple(path for path in candidates if f"/{path}".endswith(wanted) and not _SET_ASIDE.search(path))

    def import_closure(self, script_path: str, environment: Optional[Mapping[str, str]] = None) -> ImportClosure:
        """Every file of the tree that a process of the script may load, whatever branch it takes.
        Raises as ``resolve_script``."""
        script = self.script(script_path).path
        files, unresolved, dynamic = self._reachable(script, self.search_path(script, environment))
        return ImportClosure(tuple(sorted(files)), tuple(sorted(unresolved)), dynamic)

    def _reachable(self, script: str, path: SearchPath) -> tuple[dict[str, None], set[str], bool]:
        seen: dict[str, None] = {script: None}
        unresolved: set[str] = set()
        dynamic = False
        waiting = deque([script])
        while waiting:
            name = waiting.popleft()
            source = self.file(name)
            dynamic = dynamic or source.dynamic
            for imported in source.imports:
                found = self.find_import(name, imported, path)
                if found is None or found.missing:
                    unresolved.add("." * imported.level + imported.module)
                for loaded in self._loaded(imported, found):
                    if loaded not in seen:
                        seen[loaded] = None
                        waiting.append(loaded)
        return seen, unresolved, dynamic

    def _loaded(self, imported: Import, found: Optional[FoundModule]) -> Iterator[str]:
        if found is None:
            return
        yield from found.executed
        if found.folders and not found.missing:
            for name, _bound in imported.names:
                submodule = self.submodule(found, name) if name != "*" else None
                if submodule is not None:
                    yield from submodule.executed

    def _search(self, module: str, folders: Sequence[str]) -> Optional[FoundModule]:
        executed: tuple[str, ...] = ()
        found: Optional[FoundModule] = None
        parts = module.split(".")
        for index, part in enumerate(parts):
            name = ".".join(parts[: index + 1])
            step = self._step(name, part, folders)
            if step is None:
                if found is None:
                    return None
                if found.file is not None and self.file(found.file).own_path:
                    return FoundModule(module, executed=executed, opaque=True)
                return FoundModule(module, executed=executed, folders=found.folders, missing=name)
            executed += step.executed
            if step.opaque:
                return FoundModule(module, executed=executed, opaque=True)
            found, folders = step, step.folders
        return None if found is None else FoundModule(module, found.file, executed, found.folders)

    def _step(self, name: str, part: str, folders: Sequence[str]) -> Optional[FoundModule]:
        """One part of a dotted name, by the import system's rules: the first regular package or
        module wins, folders without ``__init__.py`` count only when there is neither."""
        portions: list[str] = []
        for folder in folders:
            entries = self._listing(folder)
            if entries.get(part):
                package = posixpath.join(folder, part)
                if self.is_file(posixpath.join(package, "__init__.py")):
                    own = posixpath.join(package, "__init__.py")
                    return FoundModule(name, own, (own,), (package,))
            if entries.get(f"{part}.py") is False:
                own = posixpath.join(folder, f"{part}.py")
                if relative_to_root(self.root, os.path.realpath(os.path.join(self.root, own))) is None:
                    return FoundModule(name, opaque=True)
                return FoundModule(name, own, (own,))
            if any(
                entry.startswith(f"{part}.") and entry.endswith(_EXTENSIONS) and not is_folder
                for entry, is_folder in entries.items()
            ):
                return FoundModule(name, opaque=True)
            if entries.get(part):
                portions.append(posixpath.join(folder, part))
        return FoundModule(name, folders=tuple(portions)) if portions else None

    def is_file(self, path: str) -> bool:
        """Whether the tree holds a file at ``path`` (relative to the root, exact in its case)."""
        folder, name = posixpath.split(path)
        return self._listing(folder).get(name) is False

    def holds_source(self, folders: Sequence[str]) -> bool:
        """Whether one of the folders itself holds a Python file."""
        return any(name.endswith(".py") for folder in folders for name in self._listing(folder))

    def _listing(self, folder: str) -> Mapping[str, bool]:
        """Entry to "is a folder". A folder that leads out of the tree, or cannot be read, is empty."""
        if folder not in self._entries:
            entries: dict[str, bool] = {}
            real = os.path.realpath(os.path.join(self.root, folder))
            if relative_to_root(self.root, real) is not None and os.path.isdir(real):
                try:
                    with os.scandir(real) as listing:
                        entries = {entry.name: os.path.isdir(entry.path) for entry in listing}
                except PermissionError:
                    entries = {}
            self._entries[folder] = entries
        return self._entries[folder]

    def _all_files(self) -> dict[str, list[str]]:
        """Name to every path in the tree that ends in it; links to folders are not followed."""
        if self._everywhere is None:
            everywhere: dict[str, list[str]] = {}
            for count, (folder, folders, names) in enumerate(os.walk(self.root)):
                if count > MOST_FOLDERS:
                    break
                folders[:] = sorted(name for name in folders if name not in _NOT_OURS and not name.startswith("."))
                for name in sorted(names):
                    if name.endswith(".py"):
                        path = os.path.relpath(os.path.join(folder, name), self.root).replace(os.sep, "/")
                        everywhere.setdefault(name, []).append(path)
            self._everywhere = everywhere
        return self._everywhere

    def _where_else(self, inside: str) -> str:
        name = posixpath.basename(inside)
        same = self._all_files().get(name, [])
        if not same:
            same = [path for key, paths in self._all_files().items() if key.lower() == name.lower() for path in paths]
        if same:
            return f"A file of that name is at {', '.join(same[:3])}: correct script_path"
        return "Restore the file, or remove the agent from the startup config"
