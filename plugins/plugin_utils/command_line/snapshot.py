# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity snapshot``: take a snapshot of files, folders and databases."""

from __future__ import annotations

import argparse
import json
import os

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.repository import paths
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.faults import RepositoryError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.manifests import Manifest, describe
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.databases import FOLDER, read_declarations

from . import progress
from .identities import add_identity_files
from .local_runner import LocalRunner

HELP = "Take a snapshot (exit status 1: it was taken, but something in it could not be taken as it stands)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", metavar="PATH", help="what to take; default: what --root must not lose")
    parser.add_argument("--repository", required=True, help="folder of the repository; made when there is none")
    parser.add_argument("--root", help="host root of the fleet")
    parser.add_argument("--host", help="whose snapshot; default: the name in --root, else this machine's")
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--restore-point", metavar="ID", help="take it only once under this name")
    parser.add_argument("--databases", metavar="FILE", help="JSON list of databases to dump (docs/databases.md)")
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument("--pin", action="store_true", default=None, help="exempt it from retention")
    parser.add_argument("--if-changed", action="store_true", help="take none when nothing differs")
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for another writer")
    add_identity_files(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    defaults = snapshots.default_sources(arguments.root) if arguments.root else ()
    wanted = snapshots.Wanted(
        host=snapshots.host_name(arguments.root, arguments.host),
        sources=tuple(arguments.paths) or defaults,
        exclude=tuple(arguments.exclude),
        restore_point=arguments.restore_point,
        tags=tuple(arguments.tag),
        pin=arguments.pin,
        if_changed=arguments.if_changed,
        wait=arguments.wait,
        databases=read_declarations(arguments.databases) if arguments.databases else (),
        database_folder=os.path.join(arguments.root or "/", FOLDER),
    )
    outcome = snapshots.take_snapshot(
        arguments.repository,
        wanted,
        SystemClock(),
        runner=LocalRunner(),
        progress=progress.on_terminal("snapshot"),
        identity_files=arguments.identity_files,
    )
    progress.done()
    if outcome.manifest and arguments.restore_point and arguments.paths and not outcome.published:
        _refuse_other_paths(outcome.manifest, arguments.paths)
    incomplete = snapshots.incomplete(outcome)
    pinned = (outcome.manifest.digest,) if outcome.manifest and outcome.pinned else ()
    snapshot = describe(outcome.manifest, pinned) if outcome.manifest else {}
    if arguments.format == "json":
        changes = {kind: len(paths) for kind, paths in outcome.changes.by_kind().items()}
        print(
            json.dumps(
                {
                    "snapshot": snapshot,
                    "taken": outcome.published,
                    "complete": not incomplete,
                    "problems": [problem.fields() for problem in outcome.problems],
                    "changes": changes,
                    "files_read": outcome.files_read,
                    "bytes_stored": outcome.bytes_stored,
                }
            )
        )
    else:
        print(f"snapshot {snapshot['id']} of {snapshot['host']}{'' if outcome.published else ' (was there already)'}")
        print(
            f"  {outcome.totals['files']} files, {outcome.totals['bytes'] / 1e6:.1f} MB; "
            f"{outcome.files_read} read, {outcome.bytes_stored / 1e6:.1f} MB stored"
        )
        for problem in incomplete:
            print(f"  {problem['path']}: {problem['message']} ({problem['kind']})")
    return 1 if incomplete else 0


def _refuse_other_paths(there: Manifest, wanted: list[str]) -> None:
    """Nobody shall believe that what was named is in a restore point that was there before."""
    sources = [paths.decode(source) for source in there.sources]
    real = [os.fsencode(os.path.realpath(path)) for path in wanted]
    if not all(any(paths.inside(path, source) for source in sources) for path in real):
        raise RepositoryError(
            f"The restore point {there.restore_point} is there already, of other paths: {', '.join(there.sources)}",
            where=there.id,
            fix="Give another --restore-point",
        )
