# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity init``: make a repository."""

from __future__ import annotations

import argparse
import json

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository

HELP = "Make a repository for snapshots"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repository", required=True, help="folder of the repository")
    parser.add_argument("--append-only", choices=("yes", "no"), help="whether forget and prune refuse here")
    parser.add_argument(
        "--recipient",
        action="append",
        default=[],
        dest="recipients",
        metavar="PUBLIC-KEY",
        help="make it encrypted, for the owner of this public key of age to open",
    )
    parser.add_argument("--recipients-file", metavar="FILE", help="public keys, one a line")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    repository, made = Repository.init(
        arguments.repository,
        SystemClock().now(),
        recipients=arguments.recipients,
        recipients_file=arguments.recipients_file,
    )
    if arguments.append_only:
        repository.set_append_only(arguments.append_only == "yes")
    if arguments.format == "json":
        print(
            json.dumps(
                {
                    "repository": str(repository.root),
                    "id": repository.id,
                    "made": made,
                    "append_only": repository.append_only,
                }
            )
        )
    else:
        kind = ("append-only " if repository.append_only else "") + ("encrypted " if repository.encrypted else "")
        print(f"{repository.root}: {'made' if made else 'is there already'}: {kind}repository {repository.id}")
    return 0
