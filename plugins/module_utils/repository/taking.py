# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a snapshot: walk, compare with the parent, read what changed, publish."""

from __future__ import annotations

import json
import zlib
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Callable, Deque, Iterator, Optional, Union

from ..effects import Clock
from ..source import Found, Skipped, Source
from . import manifests, paths
from .blocks import BlockReader, lines
from .entries import line_path, opening, without_seen
from .faults import DamagedError, RepositoryError
from .index import Index
from .layout import Repository, storing, timestamp
from .manifests import Manifest
from .packs import MAX_BLOCK
from .reading import FileTaker, Problem, Taken
from .storing import BlockSink, Measurement, Storage
from .threads import Crew

SMALL = 1024 * 1024
_BATCH_FILES = 64
_BATCH_LINES = 2048
_WINDOW = 8
_RACE = 100_000_000
"""Nanoseconds within which a change may leave a file's time stamp as it was."""
_SEGMENT_LINES = 1024
_SEGMENT_BYTES = 4 * 1024 * 1024
_PARENTS_LOOKED_AT = 50
_TOTALS = {b"file": "files", b"directory": "directories", b"symlink": "symlinks", b"fifo": "fifos"}

Progress = Callable[[int, int], None]
"""Called now and then with (entries, bytes of the files among them) so far."""


@dataclass(frozen=True)
class Request:
    """What a snapshot is to hold. ``sources`` are absolute real paths, in the order of a walk."""

    host: str
    sources: tuple[bytes, ...]
    exclude: tuple[str, ...] = ()
    restore_point: Optional[str] = None
    tags: tuple[str, ...] = ()
    if_changed: bool = False


@dataclass
class Changes:
    """Paths (encoded) that differ from the parent."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def by_kind(self) -> dict[str, list[str]]:
        return {"added": self.added, "changed": self.changed, "removed": self.removed}

    def render(self) -> str:
        """One line a path: ``+`` added, ``~`` changed, ``-`` removed."""
        marked = [(path, mark) for mark, kind in zip("+~-", self.by_kind().values()) for path in kind]
        return "".join(f"{mark} {path}\n" for path, mark in sorted(marked))


@dataclass
class Outcome:
    """What taking a snapshot came to. ``manifest`` is None when it was only measured; ``published``
    says whether a new snapshot exists. ``bytes_stored`` is what the repository grew by."""

    manifest: Optional[Manifest]
    published: bool
    changes: Changes
    totals: dict[str, int]
    problems: list[Problem]
    files_read: int = 0
    blocks_stored: int = 0
    bytes_stored: int = 0
    pinned: bool = False
    pin_changed: bool = False

    @classmethod
    def existing(cls, manifest: Manifest) -> Outcome:
        """Nothing was to be done: the snapshot is there."""
        problems = [
            Problem(paths.decode(one.get("path", "")), one.get("kind", ""), one.get("message", ""))
            for one in manifest.problems
        ]
        return cls(manifest, False, Changes(), dict(manifest.totals), problems)


def parent_of(repository: Repository, request: Request) -> Optional[Manifest]:
    """The newest snapshot of the same host with the same sources, else the host's newest."""
    newest: Optional[Manifest] = None
    sources = tuple(map(paths.encode, request.sources))
    for file in reversed(manifests.files(repository, request.host)[-_PARENTS_LOOKED_AT:]):
        try:
            manifest = manifests.load(file)
        except DamagedError:
            # It is no use as a parent; verify is what names it.
            continue
        if manifest.sources == sources:
            return manifest
        newest = newest or manifest
    return newest


def named(repository: Repository, host: str, restore_point: str) -> Optional[Manifest]:
    """The host's snapshot of a restore point, if it was taken already."""
    found = [one for one in manifests.readable(repository, host)[0] if one.restore_point == restore_point]
    return found[-1] if found else None


def take(
    repository: Repository,
    request: Request,
    source: Source,
    clock: Clock,
    *,
    measure: bool = False,
    progress: Optional[Progress] = None,
) -> Outcome:
    """Take one snapshot. The caller holds the host's lock, except to ``measure`` only: then everything
    is read and compared, and nothing is written. Raises RepositoryError."""
    begun = clock.now()
    index = Index(repository)
    parent = None if index.missing or index.damaged else parent_of(repository, request)
    sink: Union[Storage, Measurement] = (
        Measurement(repository, index) if measure else Storage(repository, index, request.host)
    )
    reader = BlockReader(repository, index)
    _check_key(repository, reader, parent)
    try:
        with Crew() as crew:
            run = _Run(source, sink, crew, clock, int(begun * 1e9) - _RACE, _Parent(reader, parent), progress)
            run.walk()
            same = parent is not None and not run.changes and _same_request(parent, request)
            outcome = Outcome(parent, False, run.changes, run.totals, run.problems, run.files_read)
            if measure or (request.if_changed and same):
                outcome.manifest = parent if same and request.if_changed else None
                outcome.blocks_stored, outcome.bytes_stored = (
                    (sink.new_blocks, sink.bytes_written) if measure else (0, 0)
                )
                return outcome
            sink.publish()
            with storing(repository.root):
                outcome.manifest = manifests.publish(repository, _document(repository, request, parent, begun, run))
                index.merge(request.host)
            outcome.published = True
            outcome.blocks_stored, outcome.bytes_stored = sink.new_blocks, sink.bytes_written
            return outcome
    finally:
        sink.close()
        reader.close()


def _check_key(repository: Repository, reader: BlockReader, parent: Optional[Manifest]) -> None:
    """Refuse to encrypt with another key than before: anybody could have put one there that is their own."""
    if parent is None or not parent.segments or not repository.encrypted:
        return
    try:
        reader.path(parent.segments[0].first)
    except DamagedError:
        raise RepositoryError(
            "The key in config.json is not the one of the snapshots before",
            where=str(repository.root / "config.json"),
            fix="Find out who replaced it; heal it from a copy of the repository",
        ) from None


def _same_request(parent: Manifest, request: Request) -> bool:
    return (
        parent.sources == tuple(map(paths.encode, request.sources))
        and parent.exclude == request.exclude
        and parent.tags == request.tags
        and request.restore_point in (None, parent.restore_point)
    )


def _document(
    repository: Repository, request: Request, parent: Optional[Manifest], begun: float, run: _Run
) -> dict[str, Any]:
    before, previous = manifests.head(repository, request.host)
    return {
        "format": manifests.FORMAT,
        "version": manifests.VERSION,
        "host": request.host,
        "sequence": before + 1,
        "previous": previous,
        "time": timestamp(begun),
        "parent": parent.digest if parent else None,
        "restore_point": request.restore_point,
        "tags": list(request.tags),
        "sources": [paths.encode(source) for source in request.sources],
        "exclude": list(request.exclude),
        "entries": run.segments,
        "totals": run.totals,
        "problems": [problem.fields() for problem in run.problems],
    }


class _Parent:
    """The parent's lines, walked through in step with the source."""

    def __init__(self, reader: BlockReader, manifest: Optional[Manifest]) -> None:
        self._lines: Iterator[bytes] = lines(reader, manifest) if manifest else iter(())
        self.fault = ""
        self._line = self._next()

    def _next(self) -> Optional[bytes]:
        try:
            return next(self._lines, None)
        except DamagedError as error:
            self.fault = str(error)
            return None

    def take(self, path: bytes, start: bytes, removed: list[str]) -> Optional[bytes]:
        """The parent's line of this path; names that it passes on the way are gone."""
        if self._line is not None and self._line.startswith(start):
            line, self._line = self._line, self._next()
            return line
        key = paths.order(path)
        while self._line is not None:
            own = line_path(self._line)
            if paths.order(own) > key:
                return None
            line, self._line = self._line, self._next()
            if own == path:
                return line
            removed.append(paths.encode(own))
        return None

    def rest(self, removed: list[str]) -> None:
        while self._line is not None:
            removed.append(paths.encode(line_path(self._line)))
            self._line = self._next()


@dataclass
class _Item:
    """One entry on its way: its line is known, or its file must be read."""

    path: bytes
    before: Optional[bytes]
    line: Optional[bytes] = None
    found: Optional[Found] = None
    future: Optional[Future[list[Optional[Taken]]]] = None
    place: int = 0


class _Run:
    """One walk. Results are emitted in the order of the walk, whatever thread made them."""

    def __init__(
        self,
        source: Source,
        sink: BlockSink,
        crew: Crew,
        clock: Clock,
        settled_before: int,
        parent: _Parent,
        progress: Optional[Progress],
    ) -> None:
        self._source, self._sink, self._crew = source, sink, crew
        self._taker = FileTaker(source, sink, clock, settled_before)
        self._parent, self._progress = parent, progress
        self._pending: Deque[_Item] = deque()
        self._batch: list[_Item] = []
        self._batch_bytes = 0
        self._in_flight = 0
        self._linked: dict[tuple[int, int], Optional[Taken]] = {}
        self._lines: list[bytes] = []
        self._lines_bytes = 0
        self._first = b""
        self._entries = 0
        self.segments: list[dict[str, Any]] = []
        self.changes = Changes()
        self.totals = {"files": 0, "directories": 0, "symlinks": 0, "fifos": 0, "bytes": 0}
        self.problems: list[Problem] = []
        self.files_read = 0

    def walk(self) -> None:
        for found in self._source.walk():
            if isinstance(found, Skipped):
                self.problems.append(Problem(found.path, found.kind, found.message))
                continue
            start = opening(found.path, found.seen)
            before = self._parent.take(found.path, start, self.changes.removed)
            if before is not None and before.startswith(start):
                line = before + b"\n"
                if not self._pending:
                    self._append(found.path, line)
                    continue
                item = _Item(found.path, before, line)
            elif found.stat.st_mode & 0o170000 != 0o100000:
                taken = self._taker.without_content(found)
                self.problems += taken.problems
                item = _Item(found.path, before, taken.line)
            else:
                item = _Item(found.path, before, found=found)
            self._queue(item)
        self._submit()
        self._drain(0)
        self._parent.rest(self.changes.removed)
        if self._parent.fault:
            self.problems.append(Problem(b"", "parent", f"read everything again: {self._parent.fault}"))
        self._end_segment()

    def _queue(self, item: _Item) -> None:
        self._pending.append(item)
        found = item.found
        if found is None:
            if len(self._pending) >= _BATCH_LINES:
                self._drain(_BATCH_LINES // 2)
            return
        if found.stat.st_size > SMALL or found.stat.st_nlink > 1:
            # Read when its turn comes, so that the order of the packs does not depend on the threads.
            self._submit()
            return
        self._batch.append(item)
        self._batch_bytes += found.stat.st_size
        if len(self._batch) >= _BATCH_FILES or self._batch_bytes >= SMALL:
            self._submit()

    def _submit(self) -> None:
        if not self._batch:
            return
        future = self._crew.files.submit(
            self._taker.small, [(item.found, item.before) for item in self._batch if item.found]
        )
        for place, item in enumerate(self._batch):
            item.future, item.place = future, place
        self._in_flight += 1
        self._batch, self._batch_bytes = [], 0
        if self._in_flight > _WINDOW:
            self._drain_batch()

    def _drain_batch(self) -> None:
        """Emit up to the end of the oldest batch that was submitted."""
        oldest = next((item.future for item in self._pending if item.future is not None), None)
        while self._pending and oldest is not None:
            item = self._pending[0]
            if item.future is not None and item.future is not oldest:
                return
            self._emit(self._pending.popleft())

    def _drain(self, keep: int) -> None:
        self._submit()
        while len(self._pending) > keep:
            self._emit(self._pending.popleft())

    def _emit(self, item: _Item) -> None:
        line = item.line
        if line is None and item.found is not None:
            taken = self._taken(item, item.found)
            if taken is None:
                if item.before is not None:
                    self.changes.removed.append(paths.encode(item.path))
                return
            line = taken.line
        if line is None:
            raise RepositoryError("An entry has neither a line nor a file", where=paths.encode(item.path))
        if item.before is None:
            self.changes.added.append(paths.encode(item.path))
        elif not _alike(item.before + b"\n", line):
            self.changes.changed.append(paths.encode(item.path))
        self._append(item.path, line)

    def _taken(self, item: _Item, found: Found) -> Optional[Taken]:
        linked = (found.stat.st_dev, found.stat.st_ino) if found.stat.st_nlink > 1 else None
        if item.future is not None:
            batch = item.future.result()
            if item.place == len(batch) - 1:
                self._in_flight -= 1
            taken, batch[item.place] = batch[item.place], None
            if taken is None:
                taken = self._taker.large(found, item.before, self._crew)
        elif linked is not None and linked in self._linked:
            first = self._linked[linked]
            taken = self._taker.again(found, first) if first else None
        else:
            taken = self._taker.large(found, item.before, self._crew)
        if linked is not None:
            self._linked.setdefault(linked, taken)
        self.files_read += 1
        for block in taken.blocks if taken else ():
            self._sink.add(block)
        if taken:
            self.problems += taken.problems
        return taken if taken and taken.line else None

    def _append(self, path: bytes, line: bytes) -> None:
        kind = line.index(b'","type":"') + 10
        counted = _TOTALS[line[kind : line.index(b'"', kind)]]
        self.totals[counted] += 1
        if counted == "files":
            size = line.index(b'"size":', kind) + 7
            self.totals["bytes"] += int(line[size : line.index(b",", size)])
        self._entries += 1
        if self._progress and self._entries % 256 == 0:
            self._progress(self._entries, self.totals["bytes"])
        if len(line) > MAX_BLOCK - 2 * _SEGMENT_BYTES:
            raise RepositoryError("This file has too many blocks for format version 1", where=paths.encode(path))
        if not self._lines:
            self._first = path
        self._lines.append(line)
        self._lines_bytes += len(line)
        # Where a segment ends depends on names alone, so that a new file changes one segment only.
        if zlib.crc32(path) & 0xFF == 0 or len(self._lines) >= _SEGMENT_LINES or self._lines_bytes >= _SEGMENT_BYTES:
            self._end_segment()

    def _end_segment(self) -> None:
        if not self._lines:
            return
        block = self._sink.prepare(b"".join(self._lines))
        self._sink.add(block)
        self.segments.append(
            {"block": block.digest.hex(), "count": len(self._lines), "first": self._sink.kept.seal_path(self._first)}
        )
        self._lines, self._lines_bytes = [], 0


def _alike(before: bytes, now: bytes) -> bool:
    """Whether two lines say the same of the source. When a folder's time changed, its names did too, or
    came and went: that alone is no difference."""
    if before == now or without_seen(before) == without_seen(now):
        return True
    old, new = json.loads(before), json.loads(now)
    for fields in (old, new):
        fields.pop("seen")
        if fields["type"] == "directory":
            fields.pop("mtime")
    return bool(old == new)
