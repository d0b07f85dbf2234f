# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity restore``: bring files back from a snapshot."""

from __future__ import annotations

import argparse
import json
import os
import sys

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.repository import paths

from . import progress
from .identities import add_identity_files

HELP = "Restore a snapshot (exit status 1: some of it could not be restored)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshot", metavar="SNAPSHOT", help="start of its id, 'latest', or a restore point")
    parser.add_argument("--repository", required=True, help="folder of the repository")
    parser.add_argument("--host", help="only snapshots of this host")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--target", metavar="DIR", help="restore below DIR, with whole paths")
    where.add_argument(
        "--in-place", action="store_true", help="restore to where it came from; what it replaces is kept"
    )
    parser.add_argument(
        "--include", action="append", default=[], metavar="PATH", help="only this path, or pattern of paths"
    )
    parser.add_argument(
        "--agent", action="append", default=[], dest="agents", metavar="NAME", help="only the state of this agent"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    add_identity_files(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    manifest, restored = snapshots.restore_snapshot(
        arguments.repository,
        arguments.snapshot,
        host=arguments.host,
        target=arguments.target,
        include=arguments.include,
        agents=arguments.agents,
        check=arguments.dry_run,
        progress=progress.on_terminal("restore"),
        identity_files=arguments.identity_files,
    )
    progress.done()
    if arguments.format == "json":
        print(
            json.dumps(
                {
                    "snapshot": manifest.id,
                    "created": restored.created,
                    "replaced": restored.changed,
                    "kept_aside": restored.kept_aside,
                    "failures": restored.failed,
                    "warnings": restored.warnings,
                    "matched": restored.matched,
                    "bytes_written": restored.bytes_written,
                }
            )
        )
    else:
        if arguments.dry_run:
            print(restored.render(), end="")
        print(
            f"snapshot {manifest.id}: {restored.matched} entries, {len(restored.created)} created, "
            f"{len(restored.changed)} replaced, {restored.bytes_written / 1e6:.1f} MB written"
        )
        for path in restored.kept_aside:
            print(f"  kept: {paths.encode(os.fsencode(path))}")
        for line in [*restored.warnings, *(f"{path}: {why}" for path, why in restored.failed.items())]:
            print(line, file=sys.stderr)
    return 1 if restored.failed else 0
