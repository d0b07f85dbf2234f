# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity.pyz deadman``: what the supervisor runs on a host while a rollout is unfinished."""

from __future__ import annotations

import argparse

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.deadman import watch

from .local_runner import LocalRunner
from .rollback import show

HELP = "wait for the deadline of an unfinished rollout, and take it back unless it was confirmed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", required=True, metavar="DIR", help="the host root")


def run(arguments: argparse.Namespace) -> int:
    result = watch(open_host(arguments.root, runner=LocalRunner(), clock=SystemClock()))
    if result is None:
        print("the rollout is confirmed or taken back, nothing to do", flush=True)
    else:
        show(result)
    # Ending with 0 tells the supervisor that this helper is done, whatever it found.
    return 0
