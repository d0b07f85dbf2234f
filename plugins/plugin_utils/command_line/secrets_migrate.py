# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity.pyz secrets-migrate``: credentials out of YAML, placeholders in."""

from __future__ import annotations

import argparse
import json
import resource
import traceback
from datetime import datetime, timezone

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import migration, migration_report
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scan_baseline import (
    ScanBaseline,
    read_scan_baseline,
)

HELP = "move credentials out of YAML (exit status 0: nothing to do, or done; 1: something to move, or kept; 2: cannot)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--settings", metavar="FILE", required=True, help="source, writer, prefix, backup")
    parser.add_argument("--root", metavar="DIR", help="the tree")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--apply", action="store_true", help="move them, or go on with what was begun")
    what.add_argument("--undo", metavar="RUN", help="put back what a run changed")
    parser.add_argument("--identity-file", action="append", default=[], dest="identity_files", metavar="FILE")
    parser.add_argument("--baseline", metavar="FILE", help="accepted findings: they are left alone")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        return _undo(arguments) if arguments.undo else _move(arguments)
    except (ContinuityError, OSError):
        raise
    except Exception as error:
        # Its text may hold what must not be shown.
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {last.name}:{last.lineno}"
    raise ContinuityError(f"an unforeseen error, whose text is not shown: {place}")


def _move(arguments: argparse.Namespace) -> int:
    if arguments.root is None:
        raise ContinuityError("There is no tree to look at", fix="Give --root DIR")
    clock = SystemClock()
    settings = migration_report.settings_from(arguments.settings, arguments.identity_files)
    baseline = read_scan_baseline(arguments.baseline) if arguments.baseline else ScanBaseline()
    plan, unread = migration_report.plan_of(arguments.root, baseline, datetime.now(timezone.utc).date())
    begun = migration.unfinished(settings, clock)
    done = migration.apply(arguments.root, plan, settings, clock) if arguments.apply else begun
    if arguments.format == "json":
        print(json.dumps(migration_report.plan_document(plan, unread, settings, done), indent=2))
    else:
        print("\n".join(migration_report.plan_text(plan, unread, settings, done)))
    return 0 if arguments.apply or not (done or plan.moves) else 1


def _undo(arguments: argparse.Namespace) -> int:
    settings = migration_report.settings_from(arguments.settings, arguments.identity_files)
    undone = migration.undo(arguments.undo, settings, SystemClock())
    if arguments.format == "json":
        print(json.dumps(migration_report.undone_document(undone), indent=2))
    else:
        print("\n".join(migration_report.undone_text(undone)))
    return 1 if undone.kept else 0
