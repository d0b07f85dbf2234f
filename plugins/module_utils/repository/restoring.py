# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring: compare with what stands there, write what differs, each file whole or not at all."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Deque, Iterator, NamedTuple, Optional, Sequence

from . import paths
from .blocks import BlockReader, entries_of
from .destination import Destination
from .entries import Entry
from .faults import RepositoryError
from .manifests import Manifest
from .placing import FEW, Placed, Placer
from .threads import BESIDE, CORES

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor


_BATCH = 64
_BATCH_BYTES = 1024 * 1024
_WINDOW = 8
_HOPELESS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENODEV)
)
_PATTERN = re.compile(rb"[*?\[]")


@dataclass(frozen=True)
class Selection:
    """Which entries are wanted: paths (with what is in them) or shell patterns; none means all."""

    include: tuple[bytes, ...] = ()

    @property
    def within(self) -> Optional[tuple[bytes, ...]]:
        """The paths at or beneath which everything wanted is; None when that may be anywhere."""
        return None if not self.include or any(map(_PATTERN.search, self.include)) else self.include

    def wants(self, path: bytes) -> bool:
        return not self.include or any(
            paths.inside(path, wanted) or fnmatch.fnmatchcase(path, wanted) for wanted in self.include
        )


@dataclass
class Restored:
    """What a restore changed, or would change. Paths are encoded; ``kept_aside`` are real paths;
    ``failed`` maps a path to why it could not be restored; ``matched`` counts wanted entries."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    kept_aside: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    matched: int = 0
    files_written: int = 0
    bytes_written: int = 0

    def render(self) -> str:
        """One line a path: ``+`` created, ``~`` replaced."""
        marked = [(path, "+") for path in self.created] + [(path, "~") for path in self.changed]
        return "".join(f"{mark} {path}\n" for path, mark in sorted(marked))


Progress = Callable[[int, int], None]


@dataclass
class _Batch:
    """Files of one folder, which one thread places. ``parent`` is its own descriptor of that folder."""

    placer: Placer
    folder: bytes
    parent: Optional[int]
    files: list[tuple[Entry, bytes]] = field(default_factory=list)
    bytes: int = 0


class _Answer(NamedTuple):
    path: bytes
    placed: Optional[Placed]
    fault: str = ""


class Restore:
    """One restore of one snapshot. ``target`` None is in place: every source goes back to where it came
    from, and what it replaces is kept beside the source in a folder ``.replaced-<snapshot>-<time>``."""

    def __init__(
        self,
        reader: BlockReader,
        manifest: Manifest,
        *,
        target: Optional[str],
        selection: Selection = Selection(),
        apply: bool = True,
        progress: Optional[Progress] = None,
    ) -> None:
        self._reader, self._manifest = reader, manifest
        self._target, self._selection = target, selection
        self._apply, self._progress = apply, progress
        self._linked: dict[str, tuple[str, bytes]] = {}
        self._batch: Optional[_Batch] = None
        self._pools: list[ThreadPoolExecutor] = []
        self._pending: Deque[Future[list[_Answer]]] = deque()
        self._unsynced: list[int] = []
        self.result = Restored()

    def run(self) -> Restored:
        """Restore everything that is selected. A damaged file is reported and the others are restored.

        Raises RepositoryError when nothing matches, DamagedError when the list of entries is damaged.
        """
        result = self.result
        try:
            self._walk()
            if not result.matched:
                raise RepositoryError(
                    "Nothing in this snapshot matches",
                    where=self._manifest.id,
                    fix="`continuity snapshots ID` lists its paths, which are absolute",
                )
            if result.files_written > FEW:
                os.sync()
            else:
                for descriptor in self._unsynced:
                    os.fsync(descriptor)
        finally:
            for descriptor in self._unsynced:
                os.close(descriptor)
        for listed in (result.created, result.changed, result.kept_aside, result.warnings):
            listed.sort(key=lambda path: path.replace("/", "\0"))
        return result

    def _walk(self) -> None:
        sources = [paths.decode(source) for source in self._manifest.sources]
        self._check(sources)
        base: Optional[str] = None
        placer: Optional[Placer] = None
        try:
            for entry in self._wanted():
                root = next(source for source in sources if paths.inside(entry.path, source))
                wanted = self._base(root)
                if wanted != base:
                    self._finish(placer)
                    base, placer = wanted, self._open(wanted)
                relative = entry.path.strip(b"/") if self._target else _relative(entry.path, base)
                if relative and placer is None:
                    self.result.created.append(paths.encode(entry.path))
                elif relative and placer is not None:
                    self._entry(placer, entry, relative)
                if self._progress and self.result.matched % 64 == 0:
                    self._progress(self.result.matched, self.result.bytes_written)
        finally:
            self._finish(placer)

    def _check(self, sources: Sequence[bytes]) -> None:
        for source in sources:
            paths.check(source)
        if self._target is not None and not os.path.isabs(self._target):
            raise RepositoryError("The target is not an absolute path", where=self._target)

    def _wanted(self) -> Iterator[Entry]:
        for entry in entries_of(self._reader, self._manifest, self._selection.within):
            if self._selection.wants(entry.path):
                self.result.matched += 1
                yield entry

    def _base(self, root: bytes) -> str:
        return self._target if self._target is not None else os.fsdecode(os.path.dirname(root) or b"/")

    def _open(self, base: str) -> Optional[Placer]:
        """None when there is no such folder and none is to be made."""
        if not os.path.isdir(base):
            if not self._apply:
                return None
            os.makedirs(base, mode=0o700, exist_ok=True)
        aside = None
        if self._target is None:
            when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            aside = f".replaced-{self._manifest.id}-{when}"
        destination = Destination(base, aside)
        if self._apply:
            try:
                destination.claim()
            except BaseException:
                destination.close()
                raise
        return Placer(self._reader, destination, base, self._linked)

    def _entry(self, placer: Placer, entry: Entry, path: bytes) -> None:
        try:
            parent = placer.destination.parent(path, make=self._apply)
        except RepositoryError as error:
            self._note([_Answer(entry.path, None, str(error))])
            return
        except OSError as error:
            self._note([_refused(entry, error)])
            return
        if entry.type != "file" or entry.hard_link:
            self._note(_place(placer, parent, [(entry, path)], self._apply))
            return
        folder = path.rpartition(b"/")[0]
        if self._batch is None or self._batch.folder != folder:
            self._submit()
            self._batch = _Batch(placer, folder, None if parent is None else os.dup(parent))
        self._batch.files.append((entry, path))
        self._batch.bytes += entry.content.size if entry.content else 0
        if len(self._batch.files) >= _BATCH or self._batch.bytes >= _BATCH_BYTES:
            self._submit()

    def _submit(self) -> None:
        """Hand on the files that were collected."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        if not self._pools:
            from concurrent.futures import ThreadPoolExecutor

            # Threads with small files would mostly wait for each other, those with large ones do not.
            self._pools = [ThreadPoolExecutor(BESIDE), ThreadPoolExecutor(CORES)]
        self._pending.append(self._pools[batch.bytes >= _BATCH_BYTES].submit(self._work, batch))
        while len(self._pending) > _WINDOW:
            self._note(self._pending.popleft().result())

    def _work(self, batch: _Batch) -> list[_Answer]:
        try:
            return _place(batch.placer, batch.parent, batch.files, self._apply)
        finally:
            if batch.parent is not None:
                os.close(batch.parent)

    def _finish(self, placer: Optional[Placer]) -> None:
        """Wait for the files in a destination, then describe its folders: filling them changed their times."""
        if placer is None:
            return
        try:
            batch, self._batch = self._batch, None
            if batch is not None:
                # The last one, or the only one: no other thread is needed.
                self._note(self._work(batch))
            while self._pending:
                self._note(self._pending.popleft().result())
            for entry, path in reversed(placer.folders):
                parent = placer.destination.parent(path, make=False)
                if parent is not None:
                    folder = os.open(_last(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
                    try:
                        placer.describe(folder, entry)
                    finally:
                        os.close(folder)
        finally:
            for pool in self._pools:
                pool.shutdown()
            self._pools = []
            self._pending.clear()
            self._unsynced += placer.unsynced
            self.result.warnings += placer.warnings
            self.result.kept_aside += placer.destination.kept_aside
            placer.destination.sync_aside()
            placer.destination.close()

    def _note(self, answers: Sequence[_Answer]) -> None:
        for path, placed, fault in answers:
            name = paths.encode(path)
            if fault:
                self.result.failed[name] = fault
            elif placed is not None:
                (self.result.created if placed.created else self.result.changed).append(name)
                if placed.size is not None:
                    self.result.files_written += 1
                    self.result.bytes_written += placed.size


def _place(placer: Placer, parent: Optional[int], wanted: Sequence[tuple[Entry, bytes]], apply: bool) -> list[_Answer]:
    answers = []
    for entry, path in wanted:
        try:
            answers.append(_Answer(entry.path, placer.place(parent, entry, path, apply)))
        except RepositoryError as error:
            # It is damaged, or something stands in its way.
            answers.append(_Answer(entry.path, None, str(error)))
        except OSError as error:
            answers.append(_refused(entry, error))
    return answers


def _refused(entry: Entry, error: OSError) -> _Answer:
    """What this file system cannot hold (a name too long for it, no permission) costs that entry alone. Raises
    what would cost all others too."""
    if error.errno in _HOPELESS:
        raise error
    return _Answer(entry.path, None, error.strerror or str(error))


def _last(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _relative(path: bytes, base: str) -> bytes:
    return path[len(os.fsencode(base).rstrip(b"/")) + 1 :]
