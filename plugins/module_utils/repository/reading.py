# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file on its way into a snapshot: read until it settles, then described as an entry."""

from __future__ import annotations

import errno
import grp
import hashlib
import json
import pwd
import stat
from dataclasses import dataclass, field
from functools import cache
from os import stat_result
from typing import Any, Optional, Sequence

from ..effects import Clock
from ..source import Found, Reading, Source, plain
from . import paths
from .entries import Content, Part, content_fields, line, xattr_fields
from .faults import RepositoryError
from .storing import Block, BlockSink
from .streaming import beginning_of, store_stream
from .threads import Crew

ATTEMPTS = 3
PAUSE = 0.05
SMALL = 1024 * 1024
_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}


@dataclass(frozen=True)
class Problem:
    """Something that could not be taken as it stands. ``kind`` is one of ``unreadable vanished special
    unsettled json sqlite postgresql redis parent``."""

    path: bytes
    kind: str
    message: str

    def fields(self) -> dict[str, str]:
        return {"path": paths.encode(self.path), "kind": self.kind, "message": self.message}


HARMLESS = frozenset({"vanished", "parent"})
"""Kinds of problems after which the snapshot still holds everything that there was to hold."""


@dataclass
class Taken:
    """An entry's line (empty when the file is gone or unreadable) and the blocks that it needs."""

    line: bytes
    blocks: Sequence[Block] = ()
    problems: list[Problem] = field(default_factory=list)
    content: Optional[Content] = None
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Read:
    content: Content
    blocks: list[Block]
    stat: stat_result
    kind: str
    settled: bool
    fault: str


class FileTaker:
    """Reads files of one source. ``small`` may run in several threads at once."""

    def __init__(self, source: Source, sink: BlockSink, clock: Clock, settled_before: int) -> None:
        self._source, self._sink, self._clock = source, sink, clock
        self._settled_before = settled_before

    def without_content(self, found: Found) -> Taken:
        """A folder, a link or a pipe."""
        fields = self._description(found, found.stat)
        if fields["type"] == "symlink":
            fields["target"] = paths.encode(found.target)
        else:
            self._add_xattrs(fields, found)
        return Taken(line(found.path, self._seen(found), fields), fields=fields)

    def small(self, wanted: Sequence[tuple[Found, Optional[bytes]]]) -> list[Optional[Taken]]:
        """Files of at most 1 MiB; None for one that turned out larger."""
        return [self._take(found, before, None) for found, before in wanted]

    def large(self, found: Found, before: Optional[bytes], crew: Crew) -> Taken:
        """A file of any size; its blocks are stored while it is read."""
        taken = self._take(found, before, crew)
        if taken is None:
            raise AssertionError("a file of any size was refused for its size")
        return taken

    def again(self, found: Found, first: Taken) -> Taken:
        """Another name of a file that was read under its first one."""
        return Taken(line(found.path, self._seen(found), first.fields) if first.line else b"", fields=first.fields)

    def _take(self, found: Found, before: Optional[bytes], crew: Optional[Crew]) -> Optional[Taken]:
        read: Optional[_Read] = None
        try:
            for attempt in range(ATTEMPTS):
                if attempt:
                    self._clock.sleep(PAUSE * attempt)
                read = self._read(found, attempt, before if attempt == 0 else None, crew)
                if read is None:
                    return None
                if read.settled and not read.fault:
                    break
        except OSError as error:
            kind = (
                "vanished" if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE) else "unreadable"
            )
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise RepositoryError(
                    "There is no room for a copy of this database",
                    where=paths.encode(found.path),
                    fix="Make room, and run again",
                ) from error
            return Taken(b"", problems=[Problem(found.path, kind, error.strerror or str(error))])
        return self._entry(found, read, before) if read else None

    def _read(self, found: Found, attempt: int, before: Optional[bytes], crew: Optional[Crew]) -> Optional[_Read]:
        reading = self._source.read(found, attempt)
        try:
            if crew is None:
                if reading.size > SMALL:
                    return None
                content, blocks = _cut(reading, self._sink)
            else:
                beginning = beginning_of(before, reading.size, reading.block_size, self._sink)
                stored = store_stream(reading.pieces(), reading.block_size, self._sink, crew, beginning)
                if stored is None:
                    return self._read(found, attempt, None, crew)
                content, blocks = stored, []
            return _Read(content, blocks, reading.stat, reading.kind, reading.settled(), reading.fault())
        finally:
            reading.close()

    def _entry(self, found: Found, read: _Read, before: Optional[bytes]) -> Taken:
        fields = self._description(found, read.stat)
        problems = []
        seen = self._seen(found) if _same_file(found.stat, read.stat) else b""
        good = _last_good(before) if read.fault and read.kind == "json" else None
        if good is not None:
            fields = good
            fields["evidence"] = {**content_fields(read.content), "message": read.fault}
            seen = b""
        else:
            fields.update(content_fields(read.content))
            if found.stat.st_nlink > 1:
                fields["hard_link"] = f"{found.stat.st_dev:x}.{found.stat.st_ino}"
            if read.kind and not read.fault:
                fields["kind"] = read.kind
            self._add_xattrs(fields, found)
        if not read.settled:
            fields["unsettled"] = True
            seen = b""
            problems.append(Problem(found.path, "unsettled", f"changed each time while it was read, {ATTEMPTS} times"))
        if read.fault:
            if good is None:
                fields["damaged"] = read.fault
            kept = "; the last good one is kept, this one as evidence" if good else ""
            problems.append(Problem(found.path, read.kind or "sqlite", read.fault + kept))
            seen = b""
        return Taken(line(found.path, seen, fields), read.blocks, problems, read.content, fields)

    def _description(self, found: Found, status: stat_result) -> dict[str, Any]:
        return {
            "type": _TYPES[stat.S_IFMT(status.st_mode)],
            "mode": stat.S_IMODE(status.st_mode),
            "uid": status.st_uid,
            "gid": status.st_gid,
            "user": _user(status.st_uid),
            "group": _group(status.st_gid),
            "mtime": status.st_mtime_ns,
        }

    def _add_xattrs(self, fields: dict[str, Any], found: Found) -> None:
        xattrs = self._source.xattrs(found)
        if xattrs:
            fields["xattrs"] = xattr_fields(xattrs)

    def _seen(self, found: Found) -> bytes:
        """Empty while the file may still change without its time stamps showing it."""
        return found.seen if found.changed < self._settled_before else b""


def _cut(reading: Reading, sink: BlockSink) -> tuple[Content, list[Block]]:
    pieces = list(reading.pieces())
    md5 = hashlib.md5(usedforsecurity=False)
    if (
        not sink.kept.keyed
        and len(pieces) == 1
        and isinstance(pieces[0], bytes)
        and len(pieces[0]) <= reading.block_size
    ):
        md5.update(pieces[0])
        block = sink.prepare(pieces[0])
        digest = block.digest.hex()
        return Content(block.length, digest, md5.hexdigest(), (digest,)), [block]
    sha256 = hashlib.sha256()
    blocks: list[Block] = []
    parts: list[Part] = []
    size = 0
    for piece in pieces:
        for stretch in plain(piece):
            sha256.update(stretch)
            md5.update(stretch)
            size += len(stretch)
        if isinstance(piece, int):
            parts.append(piece)
            continue
        cut = [sink.prepare(piece[at : at + reading.block_size]) for at in range(0, len(piece), reading.block_size)]
        blocks += cut
        parts += [block.digest.hex() for block in cut]
    return Content(size, sha256.hexdigest(), md5.hexdigest(), tuple(parts)), blocks


def _same_file(walked: stat_result, read: stat_result) -> bool:
    return (walked.st_ino, walked.st_size, walked.st_mtime_ns, walked.st_ctime_ns) == (
        read.st_ino,
        read.st_size,
        read.st_mtime_ns,
        read.st_ctime_ns,
    )


def _last_good(before: Optional[bytes]) -> Optional[dict[str, Any]]:
    """The fields of the parent's entry, when it holds a good document."""
    fields: dict[str, Any] = json.loads(before) if before else {}
    if fields.get("kind") != "json":
        return None
    for key in ("path", "seen", "evidence", "unsettled"):
        fields.pop(key, None)
    return fields


@cache
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@cache
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
