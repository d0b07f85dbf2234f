# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Catalogues that ``sha256sum --check`` and ``md5sum --check`` read (coreutils 9).

A line is the digest, two blanks, the path. Where the path holds a backslash, a line break or a
carriage return these are escaped, and the line begins with a backslash.
"""

from __future__ import annotations

import os
import re
from typing import Mapping

CATALOGUES = {"SHA256SUMS": "sha256", "MD5SUMS": "md5"}
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
_PLAIN = {escaped: plain for plain, escaped in _ESCAPES.items()}
_LINE = re.compile(rb"(\\?)([0-9a-f]{32}|[0-9a-f]{64}) [ *](.+)", re.DOTALL)


class CatalogueError(ValueError):
    """This is not a catalogue."""


def content(digests: Mapping[str, str]) -> bytes:
    """The catalogue of these digests by path, sorted by path."""
    return b"".join(_line(os.fsencode(path), digests[path].encode()) for path in sorted(digests, key=os.fsencode))


def parse(catalogue: bytes) -> dict[str, str]:
    """Path to digest. Raises CatalogueError naming the line."""
    found = {}
    for number, line in enumerate(catalogue.split(b"\n")[:-1], 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise CatalogueError(f"line {number} is not a checksum")
        name = match[3]
        if match[1]:
            name = re.sub(rb"\\.", lambda escape: _PLAIN.get(escape[0], escape[0]), name, flags=re.DOTALL)
        found[os.fsdecode(os.path.normpath(name))] = match[2].decode()
    if not catalogue.endswith(b"\n") and catalogue:
        raise CatalogueError("its last line is not finished")
    return found


def _line(path: bytes, digest: bytes) -> bytes:
    # A lone dash would be standard input to the standard tools.
    path = b"./-" if path == b"-" else path
    escaped = re.sub(rb"[\\\n\r]", lambda special: _ESCAPES[special[0]], path)
    return (b"\\" if escaped != path else b"") + digest + b"  " + escaped + b"\n"
