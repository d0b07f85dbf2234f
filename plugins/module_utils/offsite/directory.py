# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory as an object store: a mounted disk or share. Needs no library."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Iterator, Optional

from .faults import MissingObjectError, NoRoomError, OffsiteError, PermissionRefusedError
from .store import BEGINNING, Bounded, Peek

_ASIDE = ".part-"


class Directory:
    """Objects are files. Each is written aside, made durable and renamed, so half an object is never seen.
    What a killed run left aside is overwritten by the next one."""

    can_list = True

    def __init__(self, root: str) -> None:
        self.where = root
        self._root = Path(root)

    def put(self, name: str, source: Path) -> None:
        self._be_there()
        final = self._root / name
        aside = final.with_name(_ASIDE + final.name)
        with self._refusals("write to", final):
            final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                with open(source, "rb") as reading, open(aside, "wb") as writing:
                    shutil.copyfileobj(reading, writing, 1 << 20)
                    writing.flush()
                    os.fsync(writing.fileno())
                os.rename(aside, final)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    aside.unlink()
            folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def get(self, name: str, target: Path, most: int) -> None:
        with self._refusals("read from", self._root / name), open(self._root / name, "rb") as reading:
            with open(target, "wb") as writing:
                shutil.copyfileobj(reading, Bounded(writing, most, str(self._root / name)), 1 << 20)

    def peek(self, name: str) -> Optional[Peek]:
        try:
            with self._refusals("read from", self._root / name), open(self._root / name, "rb") as stream:
                return Peek(os.fstat(stream.fileno()).st_size, stream.read(BEGINNING))
        except MissingObjectError:
            return None

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        self._be_there()
        with self._refusals("read from", self._root):
            for folder, _folders, names in os.walk(self._root / prefix, onerror=_raise_unless_absent):
                for name in sorted(names):
                    file = Path(folder, name)
                    if not name.startswith(_ASIDE):
                        yield file.relative_to(self._root).as_posix(), file.stat().st_size

    def delete(self, name: str) -> None:
        with self._refusals("delete from", self._root / name), contextlib.suppress(FileNotFoundError):
            (self._root / name).unlink()

    def _be_there(self) -> None:
        if not self._root.is_dir():
            raise OffsiteError(
                "The directory of the copy is not there",
                where=self.where,
                fix="Mount what belongs there, or make it: a disk that is not mounted is no empty copy",
            )

    @contextlib.contextmanager
    def _refusals(self, action: str, file: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, FileNotFoundError) and action == "read from":
                raise MissingObjectError("This object is not there", where=str(file)) from error
            kind = {
                errno.EACCES: PermissionRefusedError,
                errno.EPERM: PermissionRefusedError,
                errno.EROFS: PermissionRefusedError,
                errno.ENOSPC: NoRoomError,
                errno.EDQUOT: NoRoomError,
            }.get(error.errno or 0, OffsiteError)
            raise kind(
                f"Cannot {action} the directory of the copy: {error.strerror or error}",
                where=str(file),
                fix="Make room or give permission, and run again: what was sent is kept",
            ) from error


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
