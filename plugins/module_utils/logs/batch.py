# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""All logs of a host at once."""

from __future__ import annotations

import glob
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence

from ..effects import Clock
from ..journal.durable import locked
from . import compression
from .archive import Archived, Settings, archive_log
from .files import LogError
from .names import logs_below, logs_of

LOCK = ".lock"
SHOWN = (
    "path",
    "log",
    "source",
    "size_bytes",
    "compressed_bytes",
    "ratio",
    "lines",
    "sha256",
    "archive_sha256",
    "compression",
    "level",
    "time",
)
_NAME_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Wanted:
    """What somebody wants archived. ``paths`` are logs, folders, or shell patterns of either;
    ``patterns`` and ``exclude`` choose by name in folders. ``catalogue`` defaults to a folder in ``archive``."""

    paths: tuple[str, ...]
    archive: str
    catalogue: Optional[str] = None
    patterns: tuple[str, ...] = ("*.log",)
    exclude: tuple[str, ...] = ()
    compression: str = "gzip"
    level: str = "normal"
    original: str = "keep"


def archive_logs(wanted: Wanted, clock: Clock, *, check: bool = False) -> list[Archived]:
    """Archive all logs, several at a time; the result of each, in the order of their paths. A log that fails
    does not stop the others. ``check`` says what would be done, and writes nothing."""
    level = compression.level_of(wanted.compression, wanted.level)
    if not check:
        compression.compressor(wanted.compression, level)
    folder = os.path.realpath(wanted.archive)
    catalogue = os.path.realpath(wanted.catalogue or os.path.join(folder, "catalogue"))
    if not check:
        for place in (folder, catalogue):
            _make(place)
    settings = Settings(folder, wanted.compression, level, wanted.original)
    with nullcontext() if check else locked(os.path.join(catalogue, LOCK)):
        known = _known(catalogue)
        logs = find(wanted, known)
        names = _named(logs, known)

        def work(log: str) -> Archived:
            entered = os.path.join(catalogue, names[log] + _NAME_SUFFIX)
            return archive_log(log, names[log], entered, settings, clock, check=check)

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(work, logs))


def summary(results: Sequence[Archived]) -> dict[str, Any]:
    """All results as the module returns them."""
    files = [entry for one in results for entry in one.files]
    size = sum(entry["size_bytes"] for entry in files)
    packed = sum(entry.get("compressed_bytes", 0) for entry in files)
    return {
        "changed": any(one.changed for one in results),
        "files": [{key: entry[key] for key in SHOWN if key in entry} for entry in files],
        "count": len(files),
        "size_bytes": size,
        "compressed_bytes": packed,
        "ratio": round(packed / size, 4) if packed else None,
        "removed": [path for one in results for path in one.removed],
        "truncated": [path for one in results for path in one.truncated],
        "kept": [entry for one in results for entry in one.kept],
        "problems": [str(problem) for one in results for problem in one.problems],
    }


def find(wanted: Wanted, known: Mapping[str, str]) -> list[str]:
    """The logs that are meant, sorted. A path that leads to nothing is a log that is not there."""
    skip = [os.path.realpath(path) for path in (wanted.archive, wanted.catalogue) if path]
    logs: set[str] = set()
    for given in wanted.paths:
        is_pattern = glob.has_magic(given) and not os.path.lexists(given)
        paths = [os.path.realpath(path) for path in (glob.glob(given) if is_pattern else [given])]
        for path in filter(os.path.isdir, paths):
            logs.update(logs_below(path, wanted.patterns, wanted.exclude, known, skip))
        files = [path for path in paths if not os.path.isdir(path)]
        logs.update(logs_of(files, known) if is_pattern else files)
    return sorted(logs)


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
    except OSError as error:
        raise LogError(f"This folder cannot be made: {error.strerror}", where=folder, fix="Name another one") from error


def _known(catalogue: str) -> dict[str, str]:
    """The name of each log that was archived before, by its path."""
    known = {}
    for path in glob.glob(os.path.join(glob.escape(catalogue), "*" + _NAME_SUFFIX)):
        with open(path, "rb") as file:
            first = file.readline()
        if first.endswith(b"\n"):
            try:
                known[str(json.loads(first)["log"])] = os.path.basename(path)[: -len(_NAME_SUFFIX)]
            except (ValueError, KeyError, TypeError) as error:
                raise LogError("This is not the catalogue of a log", where=path, fix="Move it elsewhere") from error
    return known


def _named(logs: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """A name for each log: its own, with names of folders in front where another log has that already."""
    names = {log: known[log] for log in logs if log in known}
    taken = set(known.values())
    for log in logs:
        if log not in names:
            parts = log.strip(os.sep).split(os.sep)
            choices = ["_".join(parts[-count:]) for count in range(1, len(parts) + 1)]
            choices += [f"{choices[-1]}_{number}" for number in range(2, len(logs) + len(taken) + 3)]
            names[log] = next(choice for choice in choices if choice not in taken)
            taken.add(names[log])
    return names
