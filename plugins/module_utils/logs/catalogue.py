# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is archived of one log, and which file holds the rest of it.

A **generation** is one run of a log from its first line to its rotation. It is recognised by a
*mark*: a length, and the SHA-256 of that many first bytes. The events in the catalogue:

- ``log``: whose catalogue this is (``log``, its path). ``before`` is how many archive files are not listed
  any more, ``older`` the last hash of the catalogue that listed them.
- ``archived``: one more stretch of a generation (docs/logs.md names the fields).
- ``seen``: the generation stands in another file now (renamed, copied, compressed).
- ``cutting``: the first ``cut`` bytes are about to be cut off its file; ``uncut``: they were not after all.
- ``removed``: its file is named ``aside`` now, and about to be removed.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from typing import Any, Collection, Iterable, NamedTuple, Optional, Sequence

from ..errors import ContinuityError
from ..journal.chain import GENESIS, Chain, Entry, canonical, sealed
from ..journal.durable import sync_directory, write_file
from .compression import CompressionError
from .files import LogError, LogFile

PARTIAL = ".partial"
LONGEST = 400
"""Entries after which a catalogue is begun anew with what may still be needed of it."""
NEWEST = 20
"""Generations that are kept though their files are not there."""
_COPYING_NS = 60_000_000_000
"""How long after its last change a copy of the live file may still be waiting for that one to be cut."""


class Mark(NamedTuple):
    length: int
    sha256: str


NOTHING = Mark(0, hashlib.sha256().hexdigest())


@dataclass
class Generation:
    """``marks`` are one, or two where a cut was begun; ``stretches`` are its ``archived`` events."""

    id: str
    marks: list[Mark]
    seen: Sequence[int]
    stretches: list[Entry] = field(default_factory=list)
    aside: Optional[str] = None

    @property
    def archived(self) -> int:
        """How many of its bytes are in the archive."""
        return sum(int(stretch["size_bytes"]) for stretch in self.stretches)

    def unchanged(self, file: LogFile) -> bool:
        whole = file.packing is not None or any(mark.length == file.stat.st_size for mark in self.marks)
        return whole and list(self.seen) == file.seen


class Catalogue:
    """The catalogue of one log. The caller holds the lock of the folder that it lies in."""

    def __init__(self, path: str, log: str) -> None:
        self.log = log
        self.folder = os.path.dirname(path)
        self._chain = Chain(path)
        self.entries = self._chain.entries()

    def add(self, event: str, **fields: Any) -> Entry:
        if not self.entries:
            self.entries.append(self._chain.append({"event": "log", "log": self.log, "before": 0}))
        self.entries.append(self._chain.append({"event": event, **fields}))
        return self.entries[-1]

    def file(self, stretch: Entry) -> str:
        return os.path.normpath(os.path.join(self.folder, stretch["file"]))

    def next_number(self) -> int:
        before = int(self.entries[0].get("before", 0)) if self.entries else 0
        return 1 + before + len([entry for entry in self.entries if entry["event"] == "archived"])

    def finish(self, folder: str, prefix: str) -> None:
        """Give the last archive file its name, if whoever wrote it died just before; clear away in
        ``folder`` what others who died had not written to its end."""
        last = next((entry for entry in reversed(self.entries) if entry["event"] == "archived"), None)
        if last is not None:
            path = self.file(last)
            if not os.path.lexists(path) and os.path.lexists(path + PARTIAL):
                os.rename(path + PARTIAL, path)
                sync_directory(os.path.dirname(path))
        unfinished = re.compile(re.escape(prefix) + r"\.\d{8}\.\w+\.\w+" + re.escape(PARTIAL))
        for name in filter(unfinished.fullmatch, os.listdir(folder)):
            os.unlink(os.path.join(folder, name))

    def generations(self) -> list[Generation]:
        return list(generations(self.entries).values())

    def shorten(self, present: Collection[str]) -> None:
        """Begin a long catalogue anew, with what may still be needed: ``present`` are the generations that
        stand in a file now. ``before`` and ``older`` (a hash) say what it follows."""
        kept = needed(self.entries, present)
        if len(self.entries) <= LONGEST or len(kept) > len(self.entries) // 2:
            return
        before = self.next_number() - 1 - len([entry for entry in kept if entry["event"] == "archived"])
        first = {"event": "log", "log": self.log, "before": before, "older": self.entries[-1]["hash"]}
        entries, previous = [], GENESIS
        for number, fields in enumerate([first, *kept], 1):
            entries.append(sealed({key: fields[key] for key in fields if key != "hash"}, number, previous))
            previous = entries[-1]["hash"]
        write_file(self._chain.path, "".join(canonical(entry) + "\n" for entry in entries).encode())
        self.entries = entries


def generations(entries: Iterable[Entry]) -> dict[str, Generation]:
    """The state that a catalogue's events lead to (pure)."""
    found: dict[str, Generation] = {}
    for entry in entries:
        event = entry["event"]
        if event == "log":
            continue
        if event == "archived":
            mark = Mark(entry["end"], entry["beginning_sha256"])
            generation = found.setdefault(entry["generation"], Generation(entry["generation"], [mark], entry["seen"]))
            generation.marks, generation.seen = [mark], entry["seen"]
            generation.stretches.append(entry)
            continue
        generation = found[entry["generation"]]
        if event == "seen":
            generation.seen = entry["seen"]
        elif event == "cutting":
            generation.marks.append(Mark(entry["length"], entry["sha256"]))
        elif event == "uncut":
            generation.marks = generation.marks[:1]
        elif event == "removed":
            generation.aside = entry["aside"]
        else:
            raise LogError(f"This catalogue has an unknown event {event!r}", fix="Use the version that wrote it")
    return found


def needed(entries: Sequence[Entry], present: Collection[str]) -> list[Entry]:
    """The entries, without the first, of generations that are present or among the newest (pure). Of each
    only from that stretch on with which what stands in its file begins."""
    known = list(generations(entries).values())
    begins: dict[str, int] = {}
    for number, generation in enumerate(reversed(known)):
        if generation.id in present or number < NEWEST:
            covered, length = 0, max(mark.length for mark in generation.marks)
            for stretch in reversed(generation.stretches):
                if covered < length:
                    begins[generation.id] = stretch["seq"]
                covered += int(stretch["size_bytes"])
    return [entry for entry in entries[1:] if entry["seq"] >= begins.get(entry["generation"], len(entries) + 1)]


@dataclass(frozen=True)
class Recognised:
    """A file and where it stands: ``generation`` None for a new one; ``mark`` is how much of it is
    archived; ``unchanged`` that there is nothing new in it; ``copying`` that logrotate is just making it;
    ``fault`` why it cannot be read."""

    file: LogFile
    generation: Optional[Generation] = None
    mark: Mark = NOTHING
    unchanged: bool = False
    copying: bool = False
    fault: Optional[ContinuityError] = None


def recognise(files: Sequence[LogFile], known: Sequence[Generation], now_ns: int) -> list[Recognised]:
    """Which generation each file holds. A generation is given to one file at most: where two could be
    it, they begin with the same bytes, and either way each line is archived as often as it was written."""
    result: dict[str, Recognised] = {}
    free = {one.id: one for one in known}

    def settle(recognised: Recognised) -> None:
        result[recognised.file.path] = recognised
        if recognised.generation is not None:
            del free[recognised.generation.id]

    for file in files:
        same = [one for one in free.values() if one.unchanged(file) and _may_be(one, file)]
        if same:
            settle(Recognised(file, same[-1], unchanged=True))
    for by_inode in (True, False):
        for file in files:
            if file.path in result or (file.live and not by_inode):
                continue
            candidates = [
                one for one in free.values() if _may_be(one, file) and (not by_inode or one.seen[:2] == file.seen[:2])
            ]
            try:
                match = _longest(candidates, file)
            except CompressionError as error:
                settle(Recognised(file, fault=error))
                continue
            if match is not None:
                settle(Recognised(file, *match))
    live = next((file for file in files if file.live), None)
    for file in files:
        if file.path not in result:
            try:
                copying = live is not None and file is not live and _copies(live, file, now_ns)
                settle(Recognised(file, copying=copying))
            except CompressionError as error:
                settle(Recognised(file, fault=error))
    return [result[file.path] for file in files]


def _longest(candidates: Sequence[Generation], file: LogFile) -> Optional[tuple[Generation, Mark]]:
    """The generation of which the file holds most, and how much that is."""
    beginnings = file.beginnings([mark.length for one in candidates for mark in one.marks])
    matches = [
        (one, mark)
        for one in candidates
        for mark in one.marks
        if mark.length in beginnings and beginnings[mark.length].hexdigest() == mark.sha256
    ]
    return max(matches, key=lambda match: match[1].length, default=None)


def _may_be(generation: Generation, file: LogFile) -> bool:
    return generation.aside in (None, file.name)


def _copies(live: LogFile, file: LogFile, now_ns: int) -> bool:
    """Whether a file is a copy of how the live one begins, made just now (or by ``gzip --keep``)."""
    young = now_ns - max(file.stat.st_mtime_ns, file.stat.st_ctime_ns) < _COPYING_NS
    only_packed = file.packing is not None and os.path.splitext(file.path)[0] == live.path
    if not young and not only_packed:
        return False
    length, digest = file.whole()
    beginning = live.beginnings([length]).get(length)
    return length > 0 and beginning is not None and beginning.hexdigest() == digest
