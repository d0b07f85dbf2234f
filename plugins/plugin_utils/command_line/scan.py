# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity.pyz scan``: credentials that are written down in a tree."""

from __future__ import annotations

import argparse
import json

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scanning import scan

HELP = "find credentials written down in files (exit status 0: none, 1: found, 2: not everything could be read)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", required=True, metavar="DIR", help="the tree")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    found = scan(arguments.root)
    if arguments.format == "json":
        document = {
            "findings": [one.document() for one in found.findings],
            "unread": [one.document() for one in found.unread],
        }
        print(json.dumps(document, indent=2))
    else:
        for one in found.findings:
            print(f"{one.file}:{one.line}: {one.class_} {one.kind} ({one.rule})")
        for unread in found.unread:
            print(f"{unread.file}: {unread.reason}")
    if any(one.blocking for one in found.findings):
        return 1
    return 2 if found.unread else 0
