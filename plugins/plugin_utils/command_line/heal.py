# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity heal``: scrub, and replace what is damaged from wherever a good copy is left."""

from __future__ import annotations

import argparse

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance
from ansible_collections.fleetops.continuity.plugins.module_utils.composition.offsite_copies import Copy
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.destination import Destination

from . import scrub

HELP = "Replace what is damaged in a repository (exit status 1: something stays damaged)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    scrub.add_common(parser)
    parser.add_argument(
        "--from", action="append", default=[], metavar="DIR", dest="copies", help="folder with a copy of the repository"
    )
    far = parser.add_argument_group("off-site copy")
    far.add_argument("--from-offsite", metavar="URL", help="path, s3://, gs://, az://, http(s)://")
    far.add_argument("--endpoint", metavar="URL")
    far.add_argument("--region")
    far.add_argument("--profile", default="default", help="section of the AWS credentials file")
    far.add_argument("--credentials-file", metavar="FILE")
    far.add_argument("--ca-file", metavar="FILE")
    far.add_argument("--offsite-identity-file", action="append", default=[], metavar="FILE", help="opens the copy")
    parser.add_argument("--no-live", action="store_true", help="do not look into the files on this host")
    parser.add_argument("--dry-run", action="store_true", help="say what would be replaced")
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for writers")


def run(arguments: argparse.Namespace) -> int:
    names = ("endpoint", "region", "profile", "credentials_file", "ca_file")
    far = {name: getattr(arguments, name) for name in names}
    wanted = maintenance.Scrubbing(
        share=arguments.share,
        restart=arguments.restart,
        heads=arguments.heads,
        heal=True,
        copies=tuple(arguments.copies),
        offsite=Copy(Destination(arguments.from_offsite, **far)) if arguments.from_offsite else None,
        offsite_identity_files=tuple(arguments.offsite_identity_file),
        live=not arguments.no_live,
        wait=arguments.wait,
        identity_files=tuple(arguments.identity_files),
    )
    return scrub.show(arguments, wanted, arguments.dry_run)
