# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies that a person can open: each written whole, read back, and compared with its source."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Iterable, Mapping, Optional, Union

from .digests import Digests, digests_of, sidecar_text
from .faults import BackupError
from .sorting import SIDECAR

MODE = 0o400
SOURCE, SNAPSHOT, ITSELF = "source", "snapshot", "itself"


@dataclass(frozen=True)
class Copy:
    """One file of a backup. ``path`` is that inside the backup, ``source`` names what it is a copy of
    (empty for what was made for the backup), ``kind`` is ``sqlite json log file`` or what made it.

    ``compared`` says what it was found equal to, byte for byte: ``source``, the file as it stands on the
    host; ``snapshot``, what was read from the source in one settled piece, where the source is a database
    or went on changing; ``itself``, what was generated. ``linked``: it shares the file of an older backup.
    """

    path: str
    source: str
    kind: str
    digests: Digests
    modified: int
    compared: str
    linked: bool = False

    def fields(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "source": self.source,
            "kind": self.kind,
            "size_bytes": self.digests.size,
            "sha256": self.digests.sha256,
            "md5": self.digests.md5,
            "compared_with": self.compared,
            "linked": self.linked,
        }


@dataclass(frozen=True)
class Older:
    """A published backup whose files may be used again: its folder, the SHA-256 of each of its files."""

    folder: str
    sums: Mapping[str, str]

    def sound(self, prefix: str) -> list[str]:
        """The files whose paths inside the backup start like this, as far as they are what they were."""
        paths = [path for path in self.sums if path.startswith(prefix) and not path.endswith(SIDECAR)]
        files = {os.path.join(self.folder, path): self.sums[path] for path in paths}
        return [file for file, sha256 in files.items() if os.path.isfile(file) and digests_of(file).sha256 == sha256]


class Copier:
    """Fills the folder of a backup under construction; ``older`` is one whose equal files may be shared."""

    def __init__(self, folder: str, older: Optional[Older] = None) -> None:
        self.folder, self._older = folder, older
        self.copies: list[Copy] = []

    def add(self, copy: Copy, pieces: Iterable[Union[bytes, int]]) -> Copy:
        """Write one file (bytes, or the length of a hole), or share it; then read it back.

        Raises BackupError when what was written does not have the digests that it must have.
        """
        file = os.path.join(self.folder, copy.path)
        _make_folder(os.path.dirname(file))
        if self._share(file, copy):
            copy = replace(copy, linked=True)
        else:
            _write(file, pieces, copy.modified)
            _compare(file, copy)
        self.copies.append(copy)
        return copy

    def adopt(self, path: str, *, source: str, kind: str, compared: str) -> Copy:
        """A file that somebody else wrote into the folder, and compared."""
        file = os.path.join(self.folder, path)
        os.chmod(file, MODE)
        copy = Copy(path, source, kind, digests_of(file), os.stat(file).st_mtime_ns, compared)
        self.copies.append(copy)
        return copy

    def write_sidecars(self, timestamp: str) -> dict[str, Digests]:
        """A sidecar beside each file; returns path to digests of files and sidecars."""
        found = {copy.path: copy.digests for copy in self.copies}
        for copy in self.copies:
            path = copy.path + SIDECAR
            write_text(os.path.join(self.folder, path), sidecar_text(copy.path, copy.digests.sha256, timestamp))
            found[path] = digests_of(os.path.join(self.folder, path))
        return found

    def _share(self, file: str, copy: Copy) -> bool:
        if self._older is None or self._older.sums.get(copy.path) != copy.digests.sha256:
            return False
        try:
            os.link(os.path.join(self._older.folder, copy.path), file, follow_symlinks=False)
            if digests_of(file) == copy.digests:
                return True
            os.unlink(file)
        except FileNotFoundError:
            # It was removed from the older backup by hand.
            pass
        except OSError:
            # Another file system, no hard links there, or as many as a file may have: a copy will do.
            if os.path.lexists(file):
                os.unlink(file)
        return False


def _make_folder(folder: str) -> None:
    """Make a folder and its ancestors, each for the owner alone (``os.makedirs`` does so for the last)."""
    if not os.path.isdir(folder):
        _make_folder(os.path.dirname(folder))
        os.mkdir(folder, 0o700)


def _compare(file: str, copy: Copy) -> None:
    written = digests_of(file)
    if written != copy.digests:
        raise BackupError(
            f"This copy is not equal to its source: {written.size} bytes with SHA-256 {written.sha256}, expected"
            f" {copy.digests.size} with {copy.digests.sha256}",
            where=copy.path,
            fix="Look at the disk of the destination, and run again",
        )


def _write(file: str, pieces: Iterable[Union[bytes, int]], modified: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as stream:
        size = 0
        for piece in pieces:
            if isinstance(piece, int):
                size += piece
                stream.seek(size)
            else:
                stream.write(piece)
                size += len(piece)
        stream.truncate(size)
        os.fchmod(stream.fileno(), MODE)
        stream.flush()
        os.utime(stream.fileno(), ns=(modified, modified))


def write_text(file: str, text: str) -> None:
    """Write a file of a backup under construction, for its owner to read. What has no UTF-8 (names of files may be any
    bytes) becomes an escape, which JSON reads back."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(text)
        os.fchmod(stream.fileno(), MODE)
