# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity scrub``: read a whole repository again for rot."""

from __future__ import annotations

import argparse
import json

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock

from . import progress
from .identities import add_identity_files

HELP = "Read every byte of a repository again (exit status 1: something is damaged)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common(parser)


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repository", required=True, help="folder of the repository")
    parser.add_argument("--share", default="1/1", metavar="K/N", help="read the Kth of N parts of the packs")
    parser.add_argument("--restart", action="store_true", help="do not go on where a killed one was")
    parser.add_argument("--heads", metavar="FILE", help="note of the newest snapshots, outside of the repository")
    add_identity_files(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    wanted = maintenance.Scrubbing(
        share=arguments.share,
        restart=arguments.restart,
        heads=arguments.heads,
        identity_files=tuple(arguments.identity_files),
    )
    return show(arguments, wanted, False)


def show(arguments: argparse.Namespace, wanted: maintenance.Scrubbing, dry_run: bool) -> int:
    """Scrub, and heal if it is wanted; say what was found and what is left."""
    done = maintenance.scrub(
        arguments.repository, wanted, SystemClock(), check=dry_run, progress=progress.on_terminal("scrub", "packs")
    )
    progress.done()
    faults = done.faults()
    if arguments.format == "json":
        print(json.dumps({"sound": not faults, "changed": done.changed, **done.fields()}))
    else:
        print(done.render(), end="")
        for fault in faults:
            print(fault)
        if done.found.unopened:
            print(f"whom damage touches is not known: {done.found.unopened}")
        resumed = f" ({done.resumed} packs were read before)" if done.resumed else ""
        print(
            f"{done.found.files} files, {done.found.bytes / 1e6:.1f} MB{resumed}: "
            + (f"{len(faults)} faults" if faults else "sound")
        )
    return 1 if faults else 0
