# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity prune``: reclaim the space of what no snapshot needs."""

from __future__ import annotations

import argparse
import json

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.pruning import Pruned

from . import progress
from .identities import add_identity_files

HELP = "Reclaim the space of what no snapshot needs any more"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repository", required=True, help="folder of the repository")
    add_common(parser)


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-unused", type=float, default=5.0, metavar="PERCENT", help="may stay unused (5)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    add_identity_files(parser)
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for writers")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def show(pruned: Pruned, dry_run: bool) -> None:
    print(
        f"{pruned.deleted + pruned.leftovers} packs {'would be ' if dry_run else ''}deleted, {pruned.rewritten} "
        f"rewritten; {pruned.bytes_freed / 1e6:.1f} of {pruned.bytes_before / 1e6:.1f} MB "
        f"{'would become free' if dry_run else 'freed'}, {pruned.bytes_unused / 1e6:.1f} MB stay unused"
    )


def run(arguments: argparse.Namespace) -> int:
    pruned = maintenance.prune(
        arguments.repository,
        SystemClock(),
        max_unused=arguments.max_unused,
        wait=arguments.wait,
        check=arguments.dry_run,
        identity_files=arguments.identity_files,
        progress=progress.on_terminal("prune", "packs"),
    )
    progress.done()
    if arguments.format == "json":
        print(json.dumps({"changed": pruned.changed, **pruned.fields()}))
    else:
        show(pruned, arguments.dry_run)
    return 0
