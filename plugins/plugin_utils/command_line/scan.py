# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity.pyz scan``: credentials that are written down in a tree, or shown by processes."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.process_scan import read_key, scan_processes
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scan_baseline import (
    ScanBaseline,
    read_scan_baseline,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scan_report import report
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scanning import scan

HELP = "find written-down credentials (exit status 0: none, 1: live ones or defaults, 2: could not read everything)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", metavar="DIR", help="the tree")
    parser.add_argument("--processes", action="store_true", help="command lines and environments of running processes")
    parser.add_argument("--baseline", metavar="FILE", help="accepted findings")
    parser.add_argument("--key-file", metavar="FILE", help="key for fingerprints of processes that can be compared")
    parser.add_argument("--format", choices=("text", "json", "sarif"), default="text")


def run(arguments: argparse.Namespace) -> int:
    if arguments.root is None and not arguments.processes:
        raise ContinuityError("There is nothing to scan", fix="Give --root DIR, --processes, or both")
    baseline = read_scan_baseline(arguments.baseline) if arguments.baseline else ScanBaseline()
    key = read_key(arguments.key_file) if arguments.key_file else None
    result = report(
        scan(arguments.root) if arguments.root is not None else None,
        scan_processes(key) if arguments.processes else None,
        baseline,
        datetime.now(timezone.utc).date(),
    )
    if arguments.format == "text":
        print("\n".join(result.text()))
    else:
        print(json.dumps(result.document() if arguments.format == "json" else result.sarif(), indent=2))
    return result.status
