# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity verify``: is everything still there, and as it was?"""

from __future__ import annotations

import argparse
import json

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots

from . import progress
from .identities import add_identity_files

HELP = "Verify snapshots, or compare files with one (exit status 1: something is not as it was)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshots", nargs="*", metavar="SNAPSHOT", help="which ones; default: all")
    parser.add_argument("--repository", required=True, help="folder of the repository")
    parser.add_argument("--host", help="only of this host")
    parser.add_argument(
        "--level",
        choices=("manifest", "data", "files"),
        default="files",
        help="manifest: is everything there; data: every stored byte; files (default): also put every file together",
    )
    parser.add_argument("--expected", metavar="SHA-256", help="digest of a manifest that must be there")
    parser.add_argument(
        "--target", metavar="DIR", help="compare the files below DIR with one snapshot (default: latest)"
    )
    add_identity_files(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    if arguments.target is not None:
        compared = snapshots.compare_tree(
            arguments.repository,
            snapshots.only_one(arguments.snapshots),
            arguments.target,
            host=arguments.host,
            expected=arguments.expected,
            identity_files=arguments.identity_files,
        )
        document, faults = compared.fields(), compared.faults()
        summary = f"compared with snapshot {(arguments.snapshots or ['latest'])[0]}"
    else:
        verified = snapshots.verify_repository(
            arguments.repository,
            arguments.snapshots,
            host=arguments.host,
            level=arguments.level,
            expected=arguments.expected,
            progress=progress.on_terminal("verify", "files"),
            identity_files=arguments.identity_files,
        )
        progress.done()
        document, faults = verified.fields(), verified.faults()
        summary = f"{verified.snapshots} snapshots, {verified.files} files, {verified.bytes / 1e6:.1f} MB"
    if arguments.format == "json":
        print(json.dumps({"sound": not faults, **document}))
    else:
        for fault in faults:
            print(fault)
        print(f"{summary}: {f'{len(faults)} faults' if faults else 'sound'}")
    return 1 if faults else 0
