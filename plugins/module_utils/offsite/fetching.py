# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching: objects back into files, each compared with the digest that it must have."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Iterator, Optional

from .catalogue import AGE
from .concurrently import each
from .encryption import Identities, fault_of_file, most
from .faults import DamagedObjectError, MissingObjectError
from .sending import Progress
from .store import ObjectStore


@dataclass(frozen=True)
class Remote:
    """A file that the copy must hold as ``<name>.age``."""

    name: str
    size: int
    sha256: str

    @property
    def object(self) -> str:
        return self.name + AGE


def fetch(store: ObjectStore, remote: Remote, identities: Identities, target: Optional[Path], scratch: Path) -> None:
    """One file (None: only to see whether it is there and whole). It takes its name when it is complete.

    Raises MissingObjectError, DamagedObjectError, WrongIdentityError, OffsiteError.
    """
    where = f"{store.where}/{remote.object}"
    sealed = scratch / f"{remote.sha256}{AGE}"
    plain = None if target is None else scratch / f"{remote.sha256}.plain"
    try:
        store.get(remote.object, sealed, most(remote.size))
        fault = fault_of_file(sealed, remote.size)
        if fault:
            raise DamagedObjectError(fault, where=where)
        if identities.decrypt(sealed, plain, where) != remote.sha256:
            raise DamagedObjectError("The object holds something else than its name says", where=where)
        if target is not None and plain is not None:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.rename(plain, target)
    finally:
        for file in filter(None, (sealed, plain)):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()


def fetch_all(
    store: ObjectStore,
    wanted: Iterable[tuple[Remote, Path]],
    identities: Identities,
    scratch: Path,
    *,
    parallel: int,
    lost: Optional[dict[str, str]] = None,
    progress: Optional[Progress] = None,
) -> int:
    """Fetch files that are not there yet; how many were. Objects that are damaged or missing are noted in
    ``lost`` (object to reason), or raised where nobody asks for that."""
    count = size = 0
    missing: Iterator[tuple[Remote, Path]] = ((remote, target) for remote, target in wanted if not target.exists())

    def one(item: tuple[Remote, Path]) -> str:
        try:
            fetch(store, item[0], identities, item[1], scratch)
        except (DamagedObjectError, MissingObjectError) as error:
            if lost is None:
                raise
            return error.what
        return ""

    for (remote, _target), problem in each(missing, one, parallel):
        if lost is not None and problem:
            lost[remote.object] = problem
            continue
        count, size = count + 1, size + remote.size
        if progress is not None:
            progress(count, size)
    return count
