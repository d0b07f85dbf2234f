# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity scheduled``: run sets of the host's schedule; what its timers and cron call."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import scheduled
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.schedule import sets

from .local_runner import LocalRunner

HELP = (
    "Run a set of the schedule (exit status 1: its backup is partial, or old ones could not be dropped; 2: it failed)"
)
STATUS = {scheduled.DONE: 0, scheduled.PARTIAL: 1, scheduled.FAILED: 2}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", required=True, help="host root of the fleet")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--set", metavar="NAME", help="run this one now")
    which.add_argument("--due", action="store_true", help="run those whose time has come, also long ago")
    which.add_argument("--list", action="store_true", help="say when each is due and how its last run ended")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    clock = SystemClock()
    if arguments.list:
        return _list(arguments)
    sets.read(arguments.root)
    names = [arguments.set] if arguments.set else scheduled.due(arguments.root, clock)
    ended = []
    with open(os.path.join(arguments.root, sets.FOLDER, ".lock"), "a", encoding="ascii") as lock:
        if arguments.due and not _alone(lock.fileno()):
            print("another run is at work", file=sys.stderr)
            names = []
        for name in names:
            ran = scheduled.run_set(arguments.root, name, LocalRunner(), clock)
            ended.append(ran)
            if arguments.format == "text":
                _tell(ran)
    if arguments.format == "json":
        print(json.dumps({"ran": [ran.fields() for ran in ended]}))
    return max((STATUS[ran.status] for ran in ended), default=0)


def _alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tell(ran: scheduled.Ran) -> None:
    print(f"{ran.ended[:19]}Z {ran.set_name}: {ran.status} {ran.made} {ran.report_checksum}".rstrip(), flush=True)
    if ran.dropped_snapshots or ran.dropped_backups:
        print(f"  dropped {ran.dropped_snapshots} snapshots, {len(ran.dropped_backups)} backups", flush=True)
    for problem in ran.problems:
        print(f"  {problem}", flush=True)


def _list(arguments: argparse.Namespace) -> int:
    known, settings = sets.read(arguments.root)
    found = {name: {**one.plain(), "last": scheduled.last(arguments.root, name)} for name, one in known.items()}
    if arguments.format == "json":
        print(json.dumps({**vars(settings), "sets": found}))
        return 0
    for name, one in found.items():
        last = one["last"]
        ended = f"{last['status']} {last['ended'][:19]}Z" if last else "never ran"
        print(f"{name:<16} {one['at']:<10} {ended}")
    return 0
