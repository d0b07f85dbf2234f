# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archiving one log: what is new in its files, written aside, proven, entered, published."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Iterator, Optional

from ..effects import Clock
from ..errors import ContinuityError
from ..journal.durable import sync_directory, write_all
from . import originals
from .catalogue import PARTIAL, Catalogue, Recognised, recognise
from .compression import compressor, expanded
from .files import LogError, LogFile, UnsettledError, open_log, unmoved

ATTEMPTS = 5
EXTENSIONS = {"gzip": ".gz", "zstd": ".zst"}
_READ = 16 * 1024
_BETWEEN = "Run again when it is not just being rotated"


@dataclass(frozen=True)
class Settings:
    """How to archive. ``folder`` takes the archive files, ``original`` is ``keep remove truncate``."""

    folder: str
    compression: str
    level: int
    original: str = "keep"


@dataclass
class Archived:
    """What became of one log. ``files`` are the new ``archived`` events, in check mode what they would
    begin with; ``removed`` and ``truncated`` are paths; ``kept`` says of others why they are still there."""

    log: str
    files: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)
    kept: list[dict[str, str]] = field(default_factory=list)
    problems: list[ContinuityError] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.files or self.removed or self.truncated)

    def render(self) -> str:
        """One line for each stretch (``+``), each file removed (``-``) and each log cut (``~``)."""
        folder = os.path.dirname(self.log)
        added = [f"+ {os.path.join(folder, one['source'])}: {one['size_bytes']} bytes\n" for one in self.files]
        return "".join(
            [*added, *(f"- {path}\n" for path in self.removed), *(f"~ {path}: truncated\n" for path in self.truncated)]
        )


def archive_log(
    log: str, name: str, catalogue: str, settings: Settings, clock: Clock, *, check: bool = False
) -> Archived:
    """Archive what is new in one log, under ``name``; ``catalogue`` is the path of its catalogue, whose folder
    the caller holds the lock of. What fails is in ``problems`` of the result."""
    result = Archived(log)
    try:
        _LogArchive(log, name, Catalogue(catalogue, log), settings, clock).run(result, check)
    except ContinuityError as error:
        result.problems.append(error)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        result.problems.append(
            LogError(
                f"It cannot be archived: {error.strerror or error}",
                where=log,
                fix=f"Make room in {settings.folder} and run again" if full else "Give permission and run again",
            )
        )
    return result


class _LogArchive:
    def __init__(self, log: str, name: str, catalogue: Catalogue, settings: Settings, clock: Clock) -> None:
        self._log, self._name, self._settings, self._clock = log, name, settings, clock
        self._catalogue = catalogue
        self._opened: list[LogFile] = []

    def run(self, result: Archived, check: bool) -> None:
        if not check:
            self._catalogue.finish(self._settings.folder, self._name)
        for attempt in range(ATTEMPTS):
            result.kept.clear()
            try:
                return self._once(result, check)
            except UnsettledError:
                if attempt == ATTEMPTS - 1:
                    raise

    def _once(self, result: Archived, check: bool) -> None:
        with ExitStack() as stack:
            files = open_log(self._log, stack)
            if not files and not self._catalogue.entries:
                raise LogError("There is no such log", where=self._log, fix="Correct the list of logs")
            recognised = recognise(files, self._catalogue.generations(), int(self._clock.now() * 1e9))
            copied = any(one.generation is None and not one.file.live and one.file.grew() for one in recognised)
            if copied or not unmoved(self._log, files):
                raise UnsettledError("It was rotated while it was looked at", where=self._log, fix=_BETWEEN)
            self._opened = files
            result.problems += [one.fault for one in recognised if one.fault is not None]
            done = [self._file(one, result, check) for one in recognised if not one.copying and one.fault is None]
            for file, generation, reached in done:
                if self._settings.original != "keep" and reached > 0:
                    cutting = self._settings.original == "truncate" and file.live
                    reason = (self._truncate if cutting else self._remove)(file, generation, reached, result, check)
                    if reason:
                        result.kept.append({"path": file.path, "reason": reason})
            if not check:
                self._catalogue.shorten({generation for _file, generation, _reached in done if generation})

    def _file(self, one: Recognised, result: Archived, check: bool) -> tuple[LogFile, Optional[str], int]:
        """Archive what is new in one file: (the file, its generation, up to where it is archived)."""
        file, generation = one.file, one.generation.id if one.generation else None
        if one.unchanged:
            return file, generation, file.stat.st_size
        start, end = one.mark.length, self._end(one)
        if end > start and check:
            result.files.append({"log": self._log, "source": file.name, "size_bytes": end - start})
        elif end > start:
            generation = generation or secrets.token_hex(8)
            result.files.append(self._stretch(one, end, generation))
        elif one.generation and list(one.generation.seen) != file.seen and not check:
            self._catalogue.add("seen", generation=generation, seen=file.seen, source=file.name)
        return file, generation, max(end, start)

    @staticmethod
    def _end(one: Recognised) -> int:
        """Up to where a file is taken: to its end when nobody writes to it, else to its last whole line."""
        if one.file.packing is not None:
            return one.file.whole()[0]
        return one.file.end_of_lines(one.mark.length) if originals.is_written(one.file) else one.file.stat.st_size

    def _stretch(self, one: Recognised, end: int, generation: str) -> dict[str, Any]:
        file = one.file
        number = self._catalogue.next_number()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock.now()))
        name = f"{self._name}.{number:08d}.{stamp}{EXTENSIONS[self._settings.compression]}"
        path = os.path.join(self._settings.folder, name)
        aside = path + PARTIAL
        try:
            fields = self._write(one, end, aside)
            self._prove(aside, fields)
            self._settled(one, end, fields["beginning_sha256"])
            entry = self._catalogue.add(
                "archived",
                generation=generation,
                log=self._log,
                source=file.name,
                seen=file.seen,
                file=os.path.relpath(path, self._catalogue.folder),
                end=end,
                **fields,
            )
        except (OSError, ContinuityError):
            _unlink(aside)
            raise
        os.rename(aside, path)
        sync_directory(self._settings.folder)
        return {"path": path, **entry}

    def _write(self, one: Recognised, end: int, aside: str) -> dict[str, Any]:
        """Compress from the mark to ``end`` into a new file; the fields that follow from it."""
        settings = self._settings
        beginning = one.file.beginnings([one.mark.length]).get(one.mark.length)
        if beginning is None or beginning.hexdigest() != one.mark.sha256:
            raise UnsettledError("It was cut while it was read", where=one.file.path, fix=_BETWEEN)
        plain, packed = hashlib.sha256(), hashlib.sha256()
        size = lines = written = 0
        engine = compressor(settings.compression, settings.level)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            for piece in one.file.pieces(one.mark.length, end):
                beginning.update(piece)
                plain.update(piece)
                size += len(piece)
                lines += piece.count(b"\n")
                part = engine.compress(piece)
                packed.update(part)
                written += len(part)
                write_all(descriptor, part)
            part = engine.flush()
            packed.update(part)
            written += len(part)
            write_all(descriptor, part)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size != end - one.mark.length:
            raise UnsettledError("It was cut while it was read", where=one.file.path, fix=_BETWEEN)
        return {
            "size_bytes": size,
            "compressed_bytes": written,
            "ratio": round(written / size, 4),
            "lines": lines,
            "sha256": plain.hexdigest(),
            "archive_sha256": packed.hexdigest(),
            "beginning_sha256": beginning.hexdigest(),
            "compression": settings.compression,
            "level": settings.level,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock.now())),
        }

    def _prove(self, path: str, fields: dict[str, Any]) -> None:
        state = hashlib.sha256()
        for piece in expanded(_raw(path), fields["compression"], path):
            state.update(piece)
        if state.hexdigest() != fields["sha256"]:
            raise LogError("This archive does not hold what was put in", where=path, fix="Check the disk, run again")

    def _settled(self, one: Recognised, end: int, sha256: str) -> None:
        """Raises UnsettledError unless what was read is what stands there, and comes next in the log."""
        if one.file.packing is None:
            again = one.file.beginnings([end]).get(end)
            if again is None or again.hexdigest() != sha256:
                raise UnsettledError("It changed while it was read", where=one.file.path, fix=_BETWEEN)
        if one.generation is None and not unmoved(self._log, self._opened):
            raise UnsettledError("It was rotated while it was read", where=one.file.path, fix=_BETWEEN)

    def _remove(self, file: LogFile, generation: Optional[str], reached: int, result: Archived, check: bool) -> str:
        """Remove a file that is archived whole; why not, when that is not safe."""
        if originals.is_written(file):
            return "a process has it open for writing"
        if file.packing is None and reached != file.stat.st_size:
            return "not all of it is archived yet"
        if not check and generation is not None:
            self._prove_whole(file, generation, None)
            with originals.read_lease(file) as quiet:
                if not quiet:
                    return "a process has it open for writing"
                removal = originals.Removal(file, self._clock)
                aside = os.path.basename(removal.aside)
                reason = removal.run(lambda: self._catalogue.add("removed", generation=generation, aside=aside))
                if reason:
                    return reason
            sync_directory(os.path.dirname(file.path))
        result.removed.append(file.path)
        return ""

    def _truncate(self, file: LogFile, generation: Optional[str], reached: int, result: Archived, check: bool) -> str:
        """Cut what is archived off the front of a file, by whole blocks; why not, when that is not safe."""
        length = originals.cut_length(file, reached)
        if length <= 0:
            return ""
        reason = originals.cannot_be_cut(file)
        if reason:
            return reason
        if not check and generation is not None:
            self._prove_whole(file, generation, reached)
            rest = hashlib.sha256()
            for piece in file.pieces(length, reached):
                rest.update(piece)
            self._catalogue.add(
                "cutting", generation=generation, cut=length, length=reached - length, sha256=rest.hexdigest()
            )
            reason = originals.cut(file, length)
            if reason:
                self._catalogue.add("uncut", generation=generation, reason=reason)
                return reason
        result.truncated.append(file.path)
        return ""

    def _prove_whole(self, file: LogFile, generation: str, archived: Optional[int]) -> None:
        """That the archive files of a generation, put together, end with what is (archived) in the file."""
        original, length = hashlib.sha256(), 0
        for piece in file.pieces(0, archived):
            original.update(piece)
            length += len(piece)
        known = next(one for one in self._catalogue.generations() if one.id == generation)
        skip, state = known.archived - length, hashlib.sha256()
        for stretch in known.stretches:
            path = self._catalogue.file(stretch)
            if not os.path.lexists(path):
                raise LogError("This archive file is gone", where=path, fix="Bring it back; the original stays")
            for piece in expanded(_raw(path), stretch["compression"], path):
                state.update(piece[max(0, skip) :])
                skip -= len(piece)
        if skip != -length or state.digest() != original.digest():
            raise LogError(
                "The archive does not hold what this log holds",
                where=file.path,
                fix="Keep the original, and look what changed the archive",
            )


def _raw(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while True:
            piece = file.read(_READ)
            if not piece:
                return
            yield piece


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
