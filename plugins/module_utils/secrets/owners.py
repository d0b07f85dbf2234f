# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and groups by name or number."""

from __future__ import annotations

import grp
import os
import pwd
from typing import Optional

from .faults import SecretError


def owner_of(name: str, owner: Optional[str], group: Optional[str]) -> tuple[int, int]:
    """Number of user and group for the file of a secret: by default ourselves, and the user's own group.

    Raises SecretError for those that do not exist, and for others than oneself without root.
    """
    uid = os.geteuid() if owner is None else _uid(name, owner)
    gid = _own_group(uid) if group is None else _gid(name, group)
    if os.geteuid() != 0 and (uid != os.geteuid() or gid not in (os.getegid(), *os.getgroups())):
        raise _refused(f"{name}: without root a file can be given to oneself alone", "Run with become, as root")
    return uid, gid


def _uid(name: str, owner: str) -> int:
    try:
        return int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
    except KeyError as error:
        raise _refused(f"{name}: there is no user {owner!r}", "Make it first") from error


def _gid(name: str, group: str) -> int:
    try:
        return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise _refused(f"{name}: there is no group {group!r}", "Make it first") from error


def _own_group(uid: int) -> int:
    if uid == os.geteuid():
        return os.getegid()
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        # A number without an account: its group has the same.
        return uid


def _refused(what: str, fix: str) -> SecretError:
    return SecretError("unknown_owner", what, where="secrets", fix=fix)
