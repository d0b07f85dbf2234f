# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity.pyz status``: how a host stands, without a controller."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.observation import observe, to_plain

from .local_runner import LocalRunner

HELP = "show a host's releases, its unfinished rollout and its agents (exit status 1: something is not as it should be)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", required=True, metavar="DIR", help="the host root")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    host = open_host(arguments.root, runner=LocalRunner(), clock=SystemClock())
    current = host.ledger.state().current
    seen = observe(host, host.releases.load(current) if current else None)
    lease = host.lease.live()
    status = {
        "host": host.name,
        **to_plain(seen),
        "staged": host.releases.staged(),
        "lease": {"owner": lease.owner, "run": lease.run, "expires": lease.expires} if lease else None,
        "differences": list(seen.differences),
    }
    print(json.dumps(status, indent=2, sort_keys=True) if arguments.format == "json" else as_text(status))
    return 1 if status["differences"] else 0


def as_text(status: dict[str, Any]) -> str:
    """The same for people: releases first, then what is unfinished, then one line for each agent."""
    lines = [f"{status['host']}: current {status['current'] or 'none'}, previous {status['previous'] or 'none'}"]
    if status["quarantined"]:
        lines.append(f"quarantined: {', '.join(status['quarantined'])}")
    unfinished = status["unfinished"]
    if unfinished:
        lines.append(
            f"unfinished: {unfinished['release']} (run {unfinished['run']}, {unfinished['stage']}), "
            f"waves activated {unfinished['waves_activated']}, verified {unfinished['waves_verified']}"
        )
    if status["lease"]:
        lines.append(f"lease: {status['lease']['owner']} (run {status['lease']['run']})")
    for name, agent in sorted(status["agents"].items()):
        lines.append(f"  {name}: {agent['process']}, {agent['status']}, {agent['release']}")
    lines += [f"not as it should be: {difference}" for difference in status["differences"]]
    return "\n".join(lines)
