# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""An append-only file of JSON lines in which every line vouches for the one before it.

A line is canonical JSON (keys sorted, no spaces, ASCII) of an object with ``seq`` (from 1),
``previous`` (the hash of the line before, 64 zeros for the first) and ``hash`` (SHA-256 over the
canonical JSON of the object without ``hash``).

Whoever dies while appending leaves a last line without its end; the next append cuts it off.
Nothing else is forgiven: a changed, missing, swapped or added line is an error that names it.
Lines cut off the end leave no trace in the file itself; whoever must notice that keeps the last
hash elsewhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from typing import Any, Callable, Mapping, Optional, Sequence

from ..errors import ContinuityError
from .durable import sync_directory, write_all

Entry = dict[str, Any]
Admission = Callable[[list[Entry]], None]
GENESIS = "0" * 64


class ChainError(ContinuityError):
    """The file is not the chain that was written."""


def canonical(value: Any) -> str:
    """One text for one value. Raises ValueError for numbers that JSON does not have."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sealed(fields: Mapping[str, Any], seq: int, previous: str) -> Entry:
    """The entry that follows ``previous``: plain JSON values with ``seq``, ``previous``, ``hash``."""
    entry: Entry = json.loads(canonical({**fields, "seq": seq, "previous": previous}))
    entry["hash"] = digest(entry)
    return entry


def digest(entry: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in entry.items() if key != "hash"}
    return hashlib.sha256(canonical(rest).encode()).hexdigest()


def parse(content: bytes, name: str, known: Sequence[Entry] = (), taken: int = 0) -> tuple[list[Entry], int]:
    """The entries of a chain, and how many of its bytes they take; what follows is a torn line.

    ``known`` are the entries of the first ``taken`` bytes, checked before.
    Raises ChainError naming ``name:line`` for the first line that is not what was written.
    """
    entries = list(known)
    previous = entries[-1]["hash"] if entries else GENESIS
    for line in content[taken:].splitlines(keepends=True):
        is_last = taken + len(line) == len(content)
        if is_last and not line.endswith(b"\n"):
            break
        entry = _checked(line.rstrip(b"\n"), len(entries) + 1, previous, f"{name}:{len(entries) + 1}")
        entries.append(entry)
        previous = entry["hash"]
        taken += len(line)
    return entries, taken


def _checked(line: bytes, seq: int, previous: str, where: str) -> Entry:
    fix = "Compare the file with its copy in a report or on another host; do not edit it"
    try:
        entry = json.loads(line)
        unchanged = isinstance(entry, dict) and canonical(entry).encode() == line
    except (ValueError, RecursionError):
        unchanged = False
    if not unchanged:
        raise ChainError("this line is not an entry in canonical form", where=where, fix=fix)
    if entry.get("hash") != digest(entry):
        raise ChainError("this entry was changed: its hash does not match", where=where, fix=fix)
    if entry.get("previous") != previous or entry.get("seq") != seq:
        raise ChainError("this entry does not follow the one before it", where=where, fix=fix)
    return dict(entry)


class Chain:
    """A chain in a file. Any number of processes may append and read at the same time.

    Bytes that were checked once are not checked again as long as they stand there unchanged.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._checked: tuple[bytes, list[Entry]] = (b"", [])

    def entries(self) -> list[Entry]:
        """All entries, checked; empty when the file does not exist."""
        try:
            with open(self.path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return []
        return self._parsed(content)[0]

    def append(self, fields: Mapping[str, Any], admit: Optional[Admission] = None) -> Entry:
        """Add one entry and return it, durable when this returns.

        ``admit`` sees all entries while nobody else can append, and raises to refuse the new one.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            content = _read(descriptor)
            entries, end = self._parsed(content)
            if admit is not None:
                admit(entries)
            entry = sealed(fields, len(entries) + 1, entries[-1]["hash"] if entries else GENESIS)
            _extend(descriptor, end, canonical(entry).encode() + b"\n", torn=end < len(content))
        finally:
            os.close(descriptor)
        if not content:
            sync_directory(os.path.dirname(self.path))
        return entry

    def _parsed(self, content: bytes) -> tuple[list[Entry], int]:
        checked, known = self._checked
        if not content.startswith(checked):
            checked, known = b"", []
        entries, end = parse(content, self.path, known, len(checked))
        self._checked = content[:end], entries
        return list(entries), end


def _read(descriptor: int) -> bytes:
    parts: list[bytes] = []
    while True:
        part = os.read(descriptor, 1 << 20)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _extend(descriptor: int, end: int, line: bytes, *, torn: bool) -> None:
    if torn:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    os.lseek(descriptor, end, os.SEEK_SET)
    try:
        write_all(descriptor, line)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise
