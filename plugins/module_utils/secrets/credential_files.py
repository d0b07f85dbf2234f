# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials, from files alone."""

from __future__ import annotations

import os
import stat

from .faults import SecretError
from .model import Hidden

_LIMIT = 1 << 20


def read(path: str, *, private: bool = True) -> Hidden:
    """The content of a file without space around it. Raises SecretError when it cannot be read, is empty, or is
    ``private`` and others than owner and group may read it."""
    content = _content(path, private)
    if not content.strip():
        raise SecretError("unreadable", "the file with a credential is empty", where=path)
    return Hidden(content.strip())


def check_private(path: str) -> None:
    """Raises SecretError as ``read`` does, for a file that somebody else reads."""
    _content(path, private=True)


def _content(path: str, private: bool) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LIMIT + 1)
    except OSError as error:
        reason = error.strerror
    else:
        if private and mode & stat.S_IROTH:
            raise SecretError(
                "unreadable",
                "everybody may read this file with a credential",
                where=path,
                fix=f"Take it away from others, and make a new credential: chmod 0400 {path}",
            )
        if len(content) <= _LIMIT:
            return content
        reason = "it is too large for a credential"
    raise SecretError("unreadable", f"the file with a credential cannot be read: {reason}", where=path)


def text(path: str, *, private: bool = True) -> Hidden:
    """As ``read``, and it is text of one line."""
    content = read(path, private=private)
    try:
        is_line = len(content.text().splitlines()) == 1
    except UnicodeDecodeError:
        is_line = False
    if not is_line:
        raise SecretError("unreadable", "the file with a credential holds more than one line of text", where=path)
    return content
