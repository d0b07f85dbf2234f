# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release as one file for the way to the host: ``release.json`` first, then its files, tar, gzip.

Nothing in an archive is trusted. The description comes first and must match the digest that the
caller expects; after it only regular files are taken, only those that it names, each with the size
and digest that it names.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from typing import IO, Any, Iterator, Mapping, Optional

from ..journal.durable import sync_directory, sync_files
from .release_document import NAME, ReleaseError

DESCRIPTION_LIMIT = 64 << 20
"""The longest ``release.json`` that is read, bytes."""
BLOCK = 1 << 20
_UNREADABLE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


def pack(document: Mapping[str, Any], contents: Mapping[str, bytes]) -> bytes:
    """The archive of a release: the same bytes for the same release and the same zlib."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as compressed:
        with tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            description = json.dumps(document, sort_keys=True, indent=1).encode() + b"\n"
            for path, content in ((NAME, description), *((path, contents[path]) for path in sorted(contents))):
                member = tarfile.TarInfo(path)
                member.size = len(content)
                member.mode = document["files"][path]["mode"] if path != NAME else 0o644
                archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class ReleaseArchive:
    """An archive being read, once, from its beginning. Use as a context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.document: dict[str, Any] = {}
        self.description = b""

    def __enter__(self) -> ReleaseArchive:
        try:
            self._archive = tarfile.open(self._path, mode="r|gz")
            member = self._archive.next()
            if member is None or member.name != NAME or not _is_plain(member) or member.size > DESCRIPTION_LIMIT:
                raise self._error(f"the archive does not begin with {NAME}")
            self.description = self._content(member).read()
            document = json.loads(self.description)
        except _UNREADABLE as error:
            raise self._error(f"this is not a release archive: {error}") from error
        except (ValueError, RecursionError) as error:
            raise self._error(f"{NAME} is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise self._error(f"{NAME} is not an object")
        self.document = document
        return self

    def __exit__(self, *_unused: object) -> None:
        self._archive.close()

    def unpack(self, folder: str) -> None:
        """Write everything into ``folder`` (empty, ours alone), durable when this returns.

        The names in the description must have been checked (``release_document.from_document``).
        Raises ReleaseError for anything that is not as described; OSError when the disk refuses.
        """
        expected: dict[str, Mapping[str, Any]] = dict(self.document["files"])
        _write(os.path.join(folder, NAME), io.BytesIO(self.description), len(self.description), 0o644)
        for member in self._members():
            file = expected.pop(member.name, None)
            if file is None or not _is_plain(member) or member.size != file["size"]:
                raise self._error(f"{member.name!r} is not a file that the release describes")
            target = os.path.join(folder, member.name)
            try:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                written = _write(target, self._content(member), member.size, file["mode"])
            except (FileExistsError, NotADirectoryError) as error:
                raise self._error(f"{member.name!r} is a file and a folder at once") from error
            except _UNREADABLE as error:
                raise self._error(f"the archive ends early or is damaged: {error}") from error
            if written != file["sha256"]:
                raise self._error(f"{member.name!r} does not match its digest")
        if expected:
            raise self._error(f"{len(expected)} files are missing, the first is {min(expected)!r}")
        sync_files(os.path.join(folder, path) for path in (NAME, *self.document["files"]))
        for parent, _folders, _files in os.walk(folder, topdown=False):
            os.chmod(parent, 0o755)
            sync_directory(parent)

    def _members(self) -> Iterator[tarfile.TarInfo]:
        while True:
            try:
                member = self._archive.next()
            except _UNREADABLE as error:
                raise self._error(f"the archive ends early or is damaged: {error}") from error
            if member is None:
                return
            yield member

    def _content(self, member: tarfile.TarInfo) -> IO[bytes]:
        content = self._archive.extractfile(member)
        if content is None:
            raise self._error(f"{member.name!r} is not a regular file")
        return content

    def _error(self, what: str) -> ReleaseError:
        return ReleaseError(what, where=self._path, fix="Nothing was staged; build and transfer the release again")


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)


def _write(target: str, content: IO[bytes], size: int, mode: int) -> Optional[str]:
    """Copy ``size`` bytes to a new file; their SHA-256, or None when they ended early."""
    digest = hashlib.sha256()
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        while size:
            block = content.read(min(BLOCK, size))
            if not block:
                return None
            digest.update(block)
            file.write(block)
            size -= len(block)
        os.fchmod(file.fileno(), mode)
    return digest.hexdigest()
