# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity snapshots``: what is in a repository."""

from __future__ import annotations

import argparse
import json
import sys

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots

from .identities import add_identity_files

HELP = "List snapshots, or the paths in one (exit status 1: some manifests are damaged)"

LETTERS = {"file": "-", "directory": "d", "symlink": "l", "fifo": "p"}
"""As `ls` shows them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshot", nargs="?", metavar="SNAPSHOT", help="list the paths in this one")
    parser.add_argument("--repository", required=True, help="folder of the repository")
    parser.add_argument("--host", help="only of this host")
    parser.add_argument("--restore-point", metavar="ID")
    parser.add_argument("--tag", action="append", default=[])
    add_identity_files(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    if arguments.snapshot:
        entries = snapshots.list_entries(
            arguments.repository, arguments.snapshot, host=arguments.host, identity_files=arguments.identity_files
        )
        if arguments.format == "json":
            # As text they take less memory. Nothing is printed before all of them could be read.
            print(f'{{"entries": [{", ".join([json.dumps(entry) for entry in entries])}]}}')
        else:
            for entry in entries:
                print(f"{LETTERS[entry['type']]} {entry['mode']:04o} {entry['size']:>12} {entry['path']}")
        return 0
    found, damaged = snapshots.list_snapshots(
        arguments.repository, host=arguments.host, restore_point=arguments.restore_point, tags=arguments.tag
    )
    if arguments.format == "json":
        print(json.dumps({"snapshots": found, "damaged": damaged}))
    else:
        for one in found:
            marks = " ".join([one["restore_point"] or "", *one["tags"], "pinned" if one["pinned"] else ""]).strip()
            marks = "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in marks)
            size = one["totals"]["bytes"] / 1e6
            print(
                f"{one['id']}  {one['time'][:19]}Z  {one['host']:<16} {one['totals']['files']:>7} files {size:>10.1f} MB  {marks}"
            )
        for fault in damaged:
            print(fault, file=sys.stderr)
    return 1 if damaged else 0
