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
import json
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
    "secrets-migrate": "secrets_migrate",
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
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # It was closed. What is opened next must not take its place.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    parsed = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that this terminal cannot show is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            status: int = parsed.run(parsed)
        except ContinuityError as error:
            status = _cannot(parsed, CANNOT, error.what, error.where, error.fix)
        except KeyboardInterrupt:
            status = _cannot(parsed, INTERRUPTED, "interrupted")
        except OSError as error:
            if error.filename is None:
                raise
            where = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename)
            status = _cannot(parsed, CANNOT, error.strerror or str(error), where)
        sys.stdout.flush()
    except OSError as error:
        # What standard output refuses now it would refuse again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"continuity {parsed.command}: the output cannot be written: {error.strerror}", file=sys.stderr)
        return CANNOT
    return status


def _cannot(
    parsed: argparse.Namespace, status: int, what: str, where: Optional[str] = None, fix: Optional[str] = None
) -> int:
    """Say why nothing came of it: a sentence for people, and the one document for who asked for JSON."""
    print(f"continuity {parsed.command}: {ContinuityError(what, where=where, fix=fix)}", file=sys.stderr)
    if getattr(parsed, "format", None) == "json":
        print(json.dumps({"error": {"what": what, "where": where, "fix": fix}}))
    return status
