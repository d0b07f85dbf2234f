# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases behind servers: dumped before the walk, then part of it under a path of their own."""

from __future__ import annotations

import heapq
import json
import os
import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence, Union

from ..effects import Runner
from ..errors import ContinuityError
from ..source import Found, Reading, Skipped
from .files import FileReading
from .tree import TreeSource, outermost

FOLDER = "databases"
DUMPS = {"postgresql": ".pgdump", "redis": ".rdb"}
"""Type to the ending of the dump's name."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_ONLY = {"service": "postgresql", "dbname": "postgresql", "run_as": "postgresql", "socket": "redis", "ca_file": "redis"}
_FIX = "Correct the list of databases (docs/databases.md)"


class DatabaseError(ContinuityError):
    """A database that is not declared as it must be, or that cannot be dumped."""


@dataclass(frozen=True)
class Database:
    """One declared database (docs/databases.md). Passwords stand in files, never here; ``timeout`` is in
    seconds and bounds the whole dump."""

    name: str
    type: str
    service: Optional[str] = None
    host: Optional[str] = None
    port: Optional[int] = None
    dbname: Optional[str] = None
    user: Optional[str] = None
    password_file: Optional[str] = None
    run_as: Optional[str] = None
    socket: Optional[str] = None
    ca_file: Optional[str] = None
    timeout: float = 3600.0

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> Database:
        """Raises DatabaseError for anything but a database that can be asked for its dump."""
        known = {one.name for one in fields(cls)}
        there = {key: value for key, value in given.items() if value is not None}
        unknown = sorted(set(there) - known)
        if unknown:
            raise DatabaseError(f"A database has no {', '.join(unknown)}", where=str(there.get("name")), fix=_FIX)
        if not _NAME.fullmatch(str(there.get("name", ""))):
            raise DatabaseError(f"{there.get('name')!r} cannot be the name of a database", fix=_FIX)
        made = cls(**there)
        if made.type not in DUMPS:
            raise DatabaseError(f"Unknown type {made.type!r}", where=made.name, fix=f"Types are {', '.join(DUMPS)}")
        for key, kind in _ONLY.items():
            if getattr(made, key) is not None and made.type != kind:
                raise DatabaseError(f"{key} is for {kind} only", where=made.name, fix=_FIX)
        return made

    @property
    def file_name(self) -> str:
        return self.name + DUMPS[self.type]


def read_declarations(path: str) -> tuple[Database, ...]:
    """The databases that a JSON file declares: a list of objects."""
    try:
        with open(path, encoding="utf-8") as file:
            listed = json.load(file)
    except (OSError, ValueError) as error:
        raise DatabaseError(f"The list of databases cannot be read: {error}", where=path, fix=_FIX) from error
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise DatabaseError("This is not a list of databases", where=path, fix=_FIX)
    return tuple(Database.from_fields(one) for one in listed)


Dumper = Callable[[Database, str, Runner], None]
"""Leaves a proven dump in a file. Raises ContinuityError, OSError."""


class DumpReading(FileReading):
    """The dump of a database."""

    def __init__(self, dump: bytes, kind: str) -> None:
        super().__init__(dump)
        self.kind = kind

    def settled(self) -> bool:
        return True


class DatabaseSource:
    """A tree, and the dumps of databases in the places where their paths belong.

    A context: on entering it all databases are dumped, side by side, on leaving it the dumps are removed.
    One that cannot be dumped is skipped with the reason, its type being the kind of the problem.
    """

    def __init__(
        self,
        tree: TreeSource,
        databases: Sequence[Database],
        folder: bytes,
        *,
        staging: str,
        runner: Runner,
        dumpers: Mapping[str, Dumper],
    ) -> None:
        self._tree, self._staging, self._runner, self._dumpers = tree, staging, runner, dumpers
        self._databases = {os.path.join(folder, os.fsencode(one.file_name)): one for one in databases}
        if len(self._databases) < len(databases):
            raise DatabaseError("Two databases have the same name", fix=_FIX)
        self._dumped: dict[bytes, Union[bytes, Skipped]] = {}
        self._open = ExitStack()
        self.roots = outermost([*tree.roots, *self._databases])

    def __enter__(self) -> DatabaseSource:
        if self._databases:
            place = self._open.enter_context(tempfile.TemporaryDirectory(prefix="dumps-", dir=self._staging))
            with ThreadPoolExecutor(len(self._databases)) as pool:
                dumps = pool.map(lambda item: self._dump(item[0], item[1], place), self._databases.items())
                self._dumped = dict(zip(self._databases, dumps))
        return self

    def __exit__(self, *_exception: object) -> None:
        self._open.close()

    def _dump(self, path: bytes, database: Database, place: str) -> Union[bytes, Skipped]:
        dump = os.path.join(place, database.file_name)
        try:
            self._dumpers[database.type](database, dump, self._runner)
        except ContinuityError as error:
            return Skipped(path, database.type, str(error))
        except OSError as error:
            return Skipped(path, database.type, f"{database.name} cannot be dumped: {error.strerror or error}")
        return os.fsencode(dump)

    def walk(self) -> Iterator[Union[Found, Skipped]]:
        dumps = sorted((self._described(path) for path in self._dumped), key=_order)
        return heapq.merge(self._tree.walk(), dumps, key=_order)

    def _described(self, path: bytes) -> Union[Found, Skipped]:
        dump = self._dumped[path]
        if isinstance(dump, Skipped):
            return dump
        # Changed just now, and unlike anything seen before: no dump is ever taken for an older one.
        now = time.time_ns()
        return Found(path, os.stat(dump), b"dump.%d" % now, now)

    def read(self, found: Found, attempt: int) -> Reading:
        dump = self._dumped.get(found.path)
        if isinstance(dump, bytes):
            return DumpReading(dump, self._databases[found.path].type)
        return self._tree.read(found, attempt)

    def xattrs(self, found: Found) -> Optional[dict[bytes, bytes]]:
        return None if found.path in self._databases else self._tree.xattrs(found)


def _order(item: Union[Found, Skipped]) -> bytes:
    return item.path.replace(b"/", b"\0")
