# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity.pyz rollback``: an operator on the host, without a controller."""

from __future__ import annotations

import argparse

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.rollback import (
    OBJECTIVE_SECONDS,
    RollbackResult,
    Wish,
    foresee,
    roll_back,
)

from .local_runner import LocalRunner

HELP = "bring this host back to an earlier release (exit status 0: done, 1: done, but not all agents answer)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", required=True, metavar="DIR", help="the host root")
    parser.add_argument("--to", metavar="ID", help="the release to go back to (default: take back the last rollout)")
    parser.add_argument(
        "--reason", default="asked for by an operator on the host", metavar="TEXT", help="for the ledger"
    )
    parser.add_argument("--quarantine", action="store_true", help="quarantine the release that is left")
    parser.add_argument("--parallel", type=int, metavar="N", help="how many agents may be away at once")
    parser.add_argument("--check", action="store_true", help="say what would be done, and do nothing")


def run(arguments: argparse.Namespace) -> int:
    host = open_host(arguments.root, runner=LocalRunner(), clock=SystemClock())
    wish = Wish(reason=arguments.reason, to=arguments.to, quarantine=arguments.quarantine, parallel=arguments.parallel)
    result = foresee(host, wish) if arguments.check else roll_back(host, wish)
    show(result)
    return 0 if result.ok else 1


def show(result: RollbackResult) -> None:
    """A line for each agent, and one that sums up."""
    if not result.changed:
        print(result.message, flush=True)
        return
    for outcome in result.batch.outcomes:
        print(f"{outcome.agent}: {'ok' if outcome.ok else outcome.message} ({outcome.seconds:.1f} s)")
    print(
        f"{result.from_release or 'nothing'} -> {result.to or 'nothing'}: {len(result.batch.outcomes)} agents "
        f"in {result.seconds:.1f} s (objective {OBJECTIVE_SECONDS:g} s){'' if result.ok else ': ' + result.message}",
        flush=True,
    )
