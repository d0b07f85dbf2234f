# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity heal``: scrub, and replace what is damaged from wherever a good copy is left."""

from __future__ import annotations

import argparse

from ansible_collections.fleetops.continuity.plugins.module_utils import maintenance

from . import scrub

HELP = "Replace what is damaged in a repository (exit status 1: something stays damaged)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    scrub.add_common(parser)
    parser.add_argument(
        "--from", action="append", default=[], metavar="DIR", dest="copies", help="folder with a copy of the repository"
    )
    parser.add_argument("--no-live", action="store_true", help="do not look into the files on this host")
    parser.add_argument("--dry-run", action="store_true", help="say what would be replaced")
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for writers")


def run(arguments: argparse.Namespace) -> int:
    wanted = maintenance.Scrubbing(
        share=arguments.share,
        restart=arguments.restart,
        heads=arguments.heads,
        heal=True,
        copies=tuple(arguments.copies),
        live=not arguments.no_live,
        wait=arguments.wait,
        identity_files=tuple(arguments.identity_files),
    )
    return scrub.show(arguments, wanted, arguments.dry_run)
