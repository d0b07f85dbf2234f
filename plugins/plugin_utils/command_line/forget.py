# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity forget``: drop snapshots by policy or by name."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock

from . import progress, prune

HELP = "Drop snapshots that no rule keeps, or those named; their space is reclaimed by prune"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("snapshots", nargs="*", metavar="SNAPSHOT", help="drop exactly these")
    parser.add_argument("--repository", required=True, help="folder of the repository")
    parser.add_argument("--root", help="host root whose ledger says on which restore point a rollout relies")
    parser.add_argument("--host", help="drop snapshots of this host only")
    for name in maintenance.KEEP:
        parser.add_argument(f"--keep-{name}", type=int, default=0, metavar="N", help=f"{name}; -1 keeps all")
    parser.add_argument("--keep-within", metavar="LENGTH", help="for example 30d, older than the newest")
    parser.add_argument("--keep-tag", action="append", default=[], metavar="TAG", dest="keep_tags")
    parser.add_argument(
        "--schedule",
        action="append",
        default=[],
        type=_schedule,
        metavar="TAG:last=N,daily=N",
        help="rules of their own for snapshots with this tag",
    )
    parser.add_argument(
        "--allow", action="append", default=[], choices=maintenance.ALLOWED, help="drop it nevertheless"
    )
    parser.add_argument("--lost", action="store_true", help="also those that were taken away and that no copy has")
    parser.add_argument("--prune", action="store_true", help="reclaim the space afterwards")
    prune.add_common(parser)


def _schedule(text: str) -> tuple[str, dict[str, Any]]:
    tag, colon, rules = text.partition(":")
    pairs = [rule.partition("=") for rule in rules.split(",")]
    if not colon or not all(name in (*maintenance.KEEP, "within") and value for name, _equals, value in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not like hourly:last=24,daily=7")
    return tag, {f"keep_{name}": value if name == "within" else int(value) for name, _equals, value in pairs}


def run(arguments: argparse.Namespace) -> int:
    options = {**vars(arguments), "schedules": dict(arguments.schedule)}
    wanted = maintenance.Dropping(
        maintenance.retention_from(options),
        names=tuple(arguments.snapshots),
        host=arguments.host,
        root=arguments.root,
        lost=arguments.lost,
        wait=arguments.wait,
        identity_files=tuple(arguments.identity_files),
    )
    done = maintenance.forget(
        arguments.repository,
        wanted,
        SystemClock(),
        prune=arguments.prune,
        max_unused=arguments.max_unused,
        check=arguments.dry_run,
        progress=progress.on_terminal("prune", "packs"),
    )
    progress.done()
    pruned = done.pruned.fields() if done.pruned else None
    if arguments.format == "json":
        fields = {**done.forgetting.fields(), "lost": done.lost_fields(), "pruned": pruned}
        print(json.dumps({"changed": done.changed, **fields}))
    else:
        print(done.forgetting.render(), end="")
        for one in done.lost_fields():
            print(f"lost  {(one['digest'] or '-')[:12]:12}  {one['host']}  number {one['sequence']}")
        dropped, kept = len(done.forgetting.dropped), len(done.forgetting.verdicts) - len(done.forgetting.dropped)
        print(f"{kept} kept, {dropped} {'would be ' if arguments.dry_run else ''}dropped")
        for fault in done.forgetting.unreadable:
            print(f"damaged, kept: {fault}")
        if done.pruned:
            prune.show(done.pruned, arguments.dry_run)
    return 1 if done.forgetting.unreadable else 0
