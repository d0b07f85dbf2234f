# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a published backup still what it was? Names each file that is not."""

from __future__ import annotations

import json
import os
from typing import Optional, Sequence

from .digests import SUMS, Digests, Known, digests_below, digests_of, read_sums
from .faults import BackupError
from .layout import Backup
from .sorting import SIDECAR


def verify(backup: Backup, *, expected: Optional[str] = None, known: Optional[Known] = None) -> list[str]:
    """What is wrong, one sentence each; empty when everything is as it was.

    ``expected`` is the SHA-256 of the report as it was noted elsewhere. It vouches for the report, the
    report for the sums, the sums for every file. Without it the report's sidecar must do. ``known`` is
    what was read of older backups just now, with which this one may share files.
    """
    try:
        return [*_report(backup, expected), *_sums(backup, {} if known is None else known)]
    except OSError as error:
        raise BackupError(f"The backup cannot be read: {error.strerror}", where=error.filename) from error


def verify_all(backups: Sequence[Backup], *, expected: Optional[str] = None) -> dict[str, list[str]]:
    """What is wrong with each backup, by its name; those with which nothing is are left out."""
    known: Known = {}
    faults = {backup.id: verify(backup, expected=expected, known=known) for backup in backups}
    return {name: found for name, found in faults.items() if found}


def _report(backup: Backup, expected: Optional[str]) -> list[str]:
    name, actual = os.path.basename(backup.report_file), digests_of(backup.report_file).sha256
    faults = []
    if expected and actual != expected:
        faults.append(f"{name}: changed, it was {expected}")
    try:
        with open(backup.report_file + SIDECAR, encoding="utf-8") as stream:
            if json.load(stream)["checksum"] != actual:
                faults.append(f"{name}: differs from its sidecar")
    except FileNotFoundError:
        faults.append(f"{name}{SIDECAR}: missing")
    except (ValueError, KeyError, TypeError):
        faults.append(f"{name}{SIDECAR}: not a sidecar")
    return faults


def _sums(backup: Backup, known: Known) -> list[str]:
    faults: list[str] = []
    named: dict[str, dict[str, str]] = {}
    for sums, algorithm in SUMS.items():
        file = os.path.join(backup.folder, sums)
        if not os.path.exists(file):
            faults.append(f"{sums}: missing")
            continue
        if digests_of(file).sha256 != backup.report["sums"].get(sums):
            faults.append(f"{sums}: changed, the report names another one")
        with open(file, encoding="utf-8") as stream:
            for path, digest in read_sums(stream.read(), file).items():
                named.setdefault(path, {})[algorithm] = digest
    own = {*SUMS, os.path.basename(backup.report_file), os.path.basename(backup.report_file) + SIDECAR}
    standing, odd = _files(backup.folder)
    faults += [f"{path}: added, it is no ordinary file" for path in odd]
    faults += [f"{path}: added" for path in sorted(standing - set(named) - own)]
    faults += [f"{path}: missing" for path in sorted(set(named) - standing)]
    present = digests_below(backup.folder, sorted(set(named) & standing), known)
    changed = {path: found for path, found in present.items() if not _is(found, named[path])}
    return faults + [f"{path}: {_how(found, named)}" for path, found in changed.items()]


def _is(found: Digests, named: dict[str, str]) -> bool:
    return all(getattr(found, algorithm) == digest for algorithm, digest in named.items())


def _how(found: Digests, named: dict[str, dict[str, str]]) -> str:
    """What became of a changed file."""
    others = [path for path, digests in named.items() if digests.get("sha256") == found.sha256]
    return f"swapped, it holds what was {others[0]}" if others else "changed"


def _files(folder: str) -> tuple[set[str], list[str]]:
    """Paths of ordinary files, and of everything else that is no folder."""
    files, odd = set(), []
    for where, folders, names in os.walk(folder):
        for name in names + [name for name in folders if os.path.islink(os.path.join(where, name))]:
            path = os.path.join(where, name)
            relative = os.path.relpath(path, folder)
            if os.path.isfile(path) and not os.path.islink(path):
                files.add(relative)
            else:
                odd.append(relative)
    return files, odd
