# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verifying a copy where it lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Sequence

from .concurrently import each
from .encryption import Identities, fault
from .faults import DamagedObjectError, MissingObjectError
from .fetching import Remote, fetch
from .sending import Progress
from .store import ObjectStore


@dataclass
class Checked:
    """What was found; ``damaged`` maps an object to what is wrong with it."""

    level: str
    objects: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    chain: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        lines = [f"{name} is missing" for name in self.missing]
        return lines + [f"{name}: {what}" for name, what in self.damaged.items()] + self.chain

    def fields(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "objects": self.objects,
            "bytes": self.bytes,
            "missing": self.missing,
            "damaged": self.damaged,
            "chain": self.chain,
        }


def check(
    store: ObjectStore,
    wanted: Sequence[Remote],
    identities: Optional[Identities],
    scratch: Path,
    *,
    parallel: int,
    progress: Optional[Progress] = None,
) -> Checked:
    """Look at every object (names and sizes), or, with identities, fetch and decrypt every one.

    Raises WrongIdentityError, and OffsiteError when the endpoint fails.
    """
    result = Checked("list" if identities is None else "data")

    def look(remote: Remote) -> Optional[str]:
        try:
            if identities is None:
                peek = store.peek(remote.object)
                return "missing" if peek is None else fault(peek, remote.size)
            fetch(store, remote, identities, None, scratch)
        except MissingObjectError:
            return "missing"
        except DamagedObjectError as error:
            return error.what
        return ""

    for remote, problem in each(wanted, look, parallel):
        result.objects += 1
        result.bytes += remote.size
        if problem == "missing":
            result.missing.append(remote.object)
        elif problem:
            result.damaged[remote.object] = problem
        if progress is not None:
            progress(result.objects, result.bytes)
    return result
