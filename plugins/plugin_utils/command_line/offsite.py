# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity offsite``: encrypted copies in another place."""

from __future__ import annotations

import argparse
import json
import sys

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import offsite
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock

from . import progress

HELP = "Send, verify or restore a copy in another place (exit status 1: something in it is not as it must be)"
STATES = {"send": "sent", "verify": "verified", "restore": "restored"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=sorted(STATES))
    parser.add_argument("--repository", help="folder of the repository (send; verify without an identity)")
    parser.add_argument(
        "--documents", action="append", default=[], metavar="PATH", dest="sources", help="send these documents instead"
    )
    parser.add_argument("--of-documents", action="store_true", help="verify or restore documents")
    parser.add_argument("--legal-pattern", action="append", dest="legal_patterns", metavar="PATTERN")
    parser.add_argument("--technical-pattern", action="append", dest="technical_patterns", metavar="PATTERN")
    parser.add_argument("--root", help="host root of the fleet, which knows the host's name")
    parser.add_argument("--host", help="only snapshots of this host, or whose documents")
    where = parser.add_argument_group("destination")
    where.add_argument("--destination", required=True, metavar="URL", help="path, s3://, gs://, az://, http(s)://")
    where.add_argument("--endpoint", metavar="URL")
    where.add_argument("--region")
    where.add_argument("--profile", default="default", help="section of the AWS credentials file")
    where.add_argument("--credentials-file", metavar="FILE")
    where.add_argument("--ca-file", metavar="FILE")
    where.add_argument("--parallel", type=int, default=4, metavar="N", help="objects at once")
    keys = parser.add_argument_group("keys")
    keys.add_argument("--recipient", action="append", default=[], dest="recipients", metavar="PUBLIC-KEY")
    keys.add_argument("--recipients-file", metavar="FILE")
    keys.add_argument("--identity-file", action="append", default=[], dest="identity_files", metavar="FILE")
    sending = parser.add_argument_group("send")
    sending.add_argument("--follow-forget", action="store_true", help="withdraw what the repository has no more")
    sending.add_argument("--append-only", action="store_true", help="never delete anything there")
    verifying = parser.add_argument_group("verify")
    verifying.add_argument("--level", choices=("list", "data"), default="list")
    verifying.add_argument("--expected", metavar="SHA-256", help="digest of a manifest that must be there")
    restoring = parser.add_argument_group("restore")
    restoring.add_argument("--snapshot", default="latest")
    restoring.add_argument("--target", metavar="DIR", help="restore below DIR, with whole paths")
    restoring.add_argument("--in-place", action="store_true", help="restore to where it came from")
    restoring.add_argument("--include", action="append", default=[], metavar="PATH")
    restoring.add_argument("--scratch", metavar="DIR", help="keep what was fetched")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    options = {
        **vars(arguments),
        "state": STATES[arguments.action],
        "content": "documents" if arguments.sources or arguments.of_documents else "restore_points",
    }
    if arguments.action == "restore" and bool(arguments.target) == arguments.in_place:
        print("continuity offsite: restore needs either --target or --in-place", file=sys.stderr)
        return 2
    outcome = offsite.carry_out(
        options,
        SystemClock(),
        check=arguments.dry_run,
        progress=progress.on_terminal(f"offsite {arguments.action}", "objects"),
    )
    progress.done()
    if arguments.format == "json":
        print(json.dumps({"changed": outcome.changed, "sound": not outcome.faults, **outcome.fields}))
        return 1 if outcome.faults else 0
    if arguments.dry_run:
        print(outcome.rendered, end="")
    for line in [*outcome.warnings, *outcome.faults]:
        print(line, file=sys.stderr)
    print(_summary(arguments.action, outcome))
    return 1 if outcome.faults else 0


def _summary(action: str, outcome: offsite.Outcome) -> str:
    fields = outcome.fields
    if action == "send":
        held = f"; {fields['count']} documents in the copy" if "count" in fields else ""
        return f"{len(fields['sent'])} sent, {len(fields['withdrawn'])} withdrawn{held}"
    if action == "verify":
        state = f"{len(outcome.faults)} faults" if outcome.faults else "sound"
        return f"{fields['objects']} objects, level {fields['level']}: {state}"
    return f"{len(fields['restored'])} restored, {len(fields['failures'])} failed"
