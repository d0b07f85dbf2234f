# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity backup``: the whole protocol on this host, or the verification of what it left."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.backup import verifying
from ansible_collections.fleetops.continuity.plugins.module_utils.backup.faults import BackupError
from ansible_collections.fleetops.continuity.plugins.module_utils.backup.layout import Staging
from ansible_collections.fleetops.continuity.plugins.module_utils.backup.report import summary
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import backups
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.databases import read_declarations

from . import progress
from .local_runner import LocalRunner

HELP = "Make a backup, or verify some (exit status 1: something was not taken as it stands, or is not as it was)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source_paths", nargs="*", metavar="PATH", help="default: what --root must not lose")
    parser.add_argument("--root", required=True, help="host root of the fleet; gives the defaults")
    parser.add_argument("--host", help="whose backup; default: the name in --root, else this machine's")
    parser.add_argument("--repository", help="default: ROOT/repository")
    parser.add_argument("--destination", help="where STAGING lies; default: ROOT/03_BACKUPS")
    parser.add_argument("--backup-id", metavar="BACKUP_YYYY-MM-DD_HHMMSS", help="nothing is done where it exists")
    parser.add_argument("--backup-type", choices=backups.TYPES, default="full")
    parser.add_argument("--compression", choices=("gzip", "zstd"), default="gzip", help="of logs")
    parser.add_argument("--compression-level", default="normal", help="low, normal, high, or a number")
    parser.add_argument("--log-path", dest="log_paths", action="append", metavar="PATH", help="default: ROOT/logs")
    parser.add_argument("--document-path", dest="document_paths", action="append", metavar="PATH")
    parser.add_argument("--databases", metavar="FILE", help="JSON list of databases to dump (docs/databases.md)")
    parser.add_argument("--exclude", action="append", metavar="PATTERN")
    parser.add_argument(
        "--identity-file",
        action="append",
        dest="identity_files",
        metavar="FILE",
        help="private key of age, for an encrypted repository",
    )
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for another backup")
    parser.add_argument("--dry-run", action="store_true", help="say what would be copied")
    parser.add_argument("--verify", metavar="BACKUP", help="make none; verify this one (its name), or 'all'")
    parser.add_argument("--expected", metavar="SHA-256", help="with --verify: of its report, as noted elsewhere")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    if arguments.verify is not None:
        return _verify(arguments)
    if arguments.expected is not None:
        raise BackupError("A backup that is made now was never noted", where="--expected", fix="Give --verify, too")
    given = vars(arguments)
    if arguments.databases:
        given["databases"] = [vars(one) for one in read_declarations(arguments.databases)]
    wish = backups.wish_for(arguments.root, given)
    made = backups.make_backup(
        wish, LocalRunner(), SystemClock(), check=arguments.dry_run, progress=progress.on_terminal("snapshot")
    )
    progress.done()
    if made.backup is None:
        print(json.dumps({"planned": made.planned}) if arguments.format == "json" else "\n".join(made.planned))
        return 0
    report = made.backup.report
    if arguments.format == "json":
        shown = {"folder": made.backup.folder, "new": made.new, "report_checksum": made.checksum, "report": report}
        print(json.dumps(shown))
    else:
        print("\n".join(summary(report, made.backup.folder, made.checksum)))
    return 1 if report["problems"] else 0


def _verify(arguments: argparse.Namespace) -> int:
    staging = Staging(arguments.destination or os.path.join(arguments.root, backups.FOLDER))
    found, damaged = staging.chosen(None if arguments.verify == "all" else arguments.verify)
    if not found and not damaged:
        raise BackupError(
            "There is no backup here that could be verified", where=staging.path, fix="Correct root or destination"
        )
    faults: dict[str, Any] = verifying.verify_all(found, expected=arguments.expected)
    if arguments.format == "json":
        names = [one.id for one in found]
        print(json.dumps({"sound": not (faults or damaged), "backups": names, "faults": faults, "damaged": damaged}))
    else:
        for line in damaged + [f"{name}: {fault}" for name, of_one in faults.items() for fault in of_one]:
            print(line)
        print(f"{len(found)} backups: {'not sound' if faults or damaged else 'sound'}")
    return 1 if faults or damaged else 0
