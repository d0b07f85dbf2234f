# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What retention dropped: one line each, so that the chain of manifests stays whole (section 5)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional

from ..journal.chain import Chain, ChainError, parse
from .faults import DamagedError
from .layout import LARGEST, Repository, check_host, is_digest, read_published, storing

NAME = "forgotten.jsonl"
LOST = "taken away"
"""The reason of a line whose manifest was lost: all that is known of it is what the next one says."""


@dataclass(frozen=True)
class Forgotten:
    """A snapshot that was dropped. ``digest``, ``sequence``, ``previous`` and ``time`` are those of its
    manifest; ``since`` says when it was dropped. Of a lost one the digest may be unknown, and the one before is."""

    digest: Optional[str]
    sequence: int
    previous: Optional[str]
    time: str
    reason: str
    since: str

    @property
    def lost(self) -> bool:
        return self.reason == LOST


def file_of(repository: Repository, host: str) -> Path:
    return repository.manifests / check_host(host) / NAME


def read(repository: Repository, host: str) -> list[Forgotten]:
    """The lines of a host, oldest first. Raises DamagedError that names the line that was changed."""
    file = file_of(repository, host)
    try:
        content = read_published(file, LARGEST)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DamagedError(f"The file cannot be read: {error.strerror}", where=str(file)) from error
    try:
        entries, taken = parse(content, str(file))
        if _lost_its_end(content[taken:]):
            raise DamagedError("The last line of the forgotten snapshots has lost its end", where=str(file))
        return [_parsed(entry) for entry in entries]
    except ChainError as error:
        raise DamagedError(f"The list of forgotten snapshots was changed: {error.what}", where=error.where) from error
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"The list of forgotten snapshots is malformed: {error!r}", where=str(file)) from error


def note(repository: Repository, host: str, lines: list[Forgotten]) -> None:
    """Add lines; durable when this returns. The caller holds the host's lock."""
    file = file_of(repository, host)
    chain = Chain(str(file))
    with storing(file):
        for line in lines:
            chain.append(
                {
                    "digest": line.digest,
                    "follows": line.previous,
                    "forgotten": line.since,
                    "number": line.sequence,
                    "reason": line.reason,
                    "time": line.time,
                }
            )


def _lost_its_end(rest: bytes) -> bool:
    """Whether what follows the last whole line was one: a writer that was killed leaves the beginning of a line."""
    try:
        return isinstance(json.loads(rest[:-1]), dict)
    except (ValueError, RecursionError):
        return False


def _parsed(entry: Mapping[str, Any]) -> Forgotten:
    unknown = entry["digest"] is None and entry["reason"] == LOST
    if not (unknown or is_digest(entry["digest"])) or not (entry["follows"] is None or is_digest(entry["follows"])):
        raise ValueError("no digest where one belongs")
    return Forgotten(
        digest=entry["digest"],
        sequence=int(entry["number"]),
        previous=entry["follows"],
        time=str(entry["time"]),
        reason=str(entry["reason"]),
        since=str(entry["forgotten"]),
    )
