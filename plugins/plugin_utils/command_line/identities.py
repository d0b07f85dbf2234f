# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How every command is told the keys of an encrypted repository: by the names of files that hold them."""

from __future__ import annotations

import argparse


def add_identity_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--identity-file",
        action="append",
        default=[],
        dest="identity_files",
        metavar="FILE",
        help="private key of age, for an encrypted repository",
    )
