# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's command line: what continuity.pyz runs, on a host or in an operator's hand.

Each command is a file of this package with ``HELP`` (one line), ``add_arguments(parser)`` and
``run(arguments) -> int`` (the exit status). ``main`` is the only place that prints an error.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from typing import Optional, Sequence

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError

COMMANDS: dict[str, str] = {
    "audit": "audit",
    "backup": "backup",
    "boot-check": "boot_check",
    "deadman": "deadman",
    "forget": "forget",
    "heal": "heal",
    "init": "init",
    "offsite": "offsite",
    "prune": "prune",
    "restore": "restore",
    "rollback": "rollback",
    "scan": "scan",
    "scheduled": "scheduled",
    "scrub": "scrub",
    "snapshot": "snapshot",
    "snapshots": "snapshots",
    "status": "status",
    "verify": "verify",
}
"""Command to the file of this package that holds it. Files are imported only when called for."""

CANNOT = 2
"""Exit status of a command that could not do its work (0: done, 1: done, and it found something)."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def main(argv: Optional[Sequence[str]] = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="continuity",
        description="Change a running fleet without losing data, uptime or secrets, and take it back.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    wanted = {name for name in arguments[:1] if name in COMMANDS} or set(COMMANDS)
    for name in COMMANDS:
        if name in wanted:
            command = importlib.import_module(f"{__name__}.{COMMANDS[name]}")
            command_parser = commands.add_parser(name, help=command.HELP, description=command.HELP)
            command.add_arguments(command_parser)
            command_parser.set_defaults(run=command.run)
    parsed = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that this terminal cannot show is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except ContinuityError as error:
        print(f"continuity {parsed.command}: {error}", file=sys.stderr)
        return CANNOT
    except KeyboardInterrupt:
        print(f"continuity {parsed.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if error.filename is not None:
            where = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename)
            print(f"continuity {parsed.command}: {where}: {error.strerror}", file=sys.stderr)
            return CANNOT
        # What standard output refuses now it would refuse again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"continuity {parsed.command}: the output cannot be written: {error.strerror}", file=sys.stderr)
        return CANNOT
    return status
