# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity.pyz boot-check``: what runs when a host starts, before its agents."""

from __future__ import annotations

import argparse

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.deadman import check_boot

from .local_runner import LocalRunner
from .rollback import show

HELP = "take back a rollout that was armed before the last boot and never confirmed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", required=True, metavar="DIR", help="the host root")


def run(arguments: argparse.Namespace) -> int:
    result = check_boot(open_host(arguments.root, runner=LocalRunner(), clock=SystemClock()))
    if result is None:
        print("no rollout of an earlier boot is unfinished", flush=True)
        return 0
    show(result)
    return 0 if result.ok else 1
