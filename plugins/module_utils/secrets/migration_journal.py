# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration has done so far: a hash-chained journal of names, places and versions, without any value.

Events of a run, in their order: ``begun`` (with every move), ``backed_up`` (a file), ``writing`` and ``written`` (a
path), ``proven`` (all of them), ``edited`` (a file), ``done``; ``undoing``, ``restored``, ``taken_back``, ``undone``.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Mapping, Optional

from ..effects import Clock
from ..journal.chain import Chain, Entry
from .migration_files import MigrationError
from .migration_plan import Move

_MOVE = tuple(one.name for one in dataclasses.fields(Move))


@dataclass
class Run:
    """``backups`` are names of files in the run's folder, by the file that they hold, the last one each; ``written``
    are paths that this run wrote or was about to write; ``versions`` what was read back from them; ``kept`` what could
    not be taken back."""

    id: str
    root: str
    prefix: str
    kind: str
    moves: tuple[Move, ...]
    state: str = "begun"
    backups: dict[str, str] = field(default_factory=dict)
    objects: int = 0
    written: set[str] = field(default_factory=set)
    versions: dict[str, Optional[str]] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    kept: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        return sorted({move.file for move in self.moves})

    @property
    def over(self) -> bool:
        """Whether it was taken back, wholly."""
        return self.state == "undone" and not self.kept

    def of(self, file: str) -> list[Move]:
        return [move for move in self.moves if move.file == file]

    def path(self, name: str) -> str:
        return f"{self.prefix}/{name}"


class MigrationJournal:
    """In the folder of backups; ``runs`` are computed from its lines and from nothing else."""

    def __init__(self, folder: str, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock
        self._chain = Chain(os.path.join(folder, "journal.jsonl"))

    def runs(self) -> dict[str, Run]:
        runs: dict[str, Run] = {}
        for entry in self._chain.entries():
            if entry["event"] == "begun":
                moves = tuple(_move(fields) for fields in entry["moves"])
                runs[entry["run"]] = Run(entry["run"], entry["root"], entry["prefix"], entry["source"], moves)
            else:
                _take(runs[entry["run"]], entry)
        return runs

    def begin(self, run: Run) -> None:
        moves = [{name: getattr(move, name) for name in _MOVE} for move in run.moves]
        self._append(run, "begun", root=run.root, prefix=run.prefix, source=run.kind, moves=moves)

    def note(self, run: Run, event: str, **fields: Any) -> None:
        """Write an event down, durably, and count it in."""
        _take(run, self._append(run, event, **fields))

    def _append(self, run: Run, event: str, **fields: Any) -> Entry:
        time = datetime.fromtimestamp(self._clock.now(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._chain.append({"time": time, "run": run.id, "event": event, **fields})


def _take(run: Run, entry: Mapping[str, Any]) -> None:
    event = entry["event"]
    if event == "backed_up":
        run.backups[entry["file"]] = entry["object"]
        run.objects += 1
    elif event == "writing":
        run.written.add(entry["path"])
    elif event == "proven":
        run.versions = dict(entry["versions"])
    elif event == "edited":
        run.edited.add(entry["file"])
    elif event == "taken_back":
        run.written.discard(entry["path"])
    elif event == "undone":
        run.kept = tuple(entry["kept"])
    if event in ("done", "undoing", "undone"):
        run.state = event


def _move(fields: Mapping[str, Any]) -> Move:
    try:
        return Move(**{**fields, "path": tuple(fields["path"])})
    except TypeError:
        error = MigrationError("the journal was written by another version", fix="Use the version that wrote it")
    raise error
