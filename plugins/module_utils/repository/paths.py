# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Byte strings as text, and the one order of paths (docs/snapshot-format.md, section 6)."""

from __future__ import annotations

import re

from .faults import DamagedError

_UNSAFE = re.compile('[%"\\\\\x00-\x1f\x7f\udc80-\udcff]')
_SAFE = re.compile(b"[ !#$&-\\[\\]-~]*")
_ESCAPE = re.compile(r"%([0-9A-F]{2})")
MAX_PATH = 65536


def encode(raw: bytes) -> str:
    """The one spelling of a byte string."""
    return _UNSAFE.sub(lambda found: f"%{ord(found.group()) & 0xFF:02X}", raw.decode("utf-8", "surrogateescape"))


def encode_bytes(raw: bytes) -> bytes:
    """The one spelling, as UTF-8."""
    return raw if _SAFE.fullmatch(raw) else encode(raw).encode()


def decode(text: str) -> bytes:
    """The byte string behind a spelling. Raises DamagedError unless it is the one spelling."""
    try:
        raw = b"".join(
            bytes([int(part, 16)]) if odd else part.encode() for odd, part in _alternate(_ESCAPE.split(text))
        )
    except UnicodeEncodeError as error:
        raise DamagedError(f"{text!r} is not a valid spelling of a name") from error
    if encode(raw) != text:
        raise DamagedError(f"{text!r} is not the one spelling of a name")
    return raw


def _alternate(parts: list[str]) -> list[tuple[bool, str]]:
    return [(number % 2 == 1, part) for number, part in enumerate(parts)]


def order(path: bytes) -> bytes:
    """Sorting by this puts a folder directly before what is in it."""
    return path.replace(b"/", b"\0")


def check(path: bytes) -> None:
    """Raise DamagedError unless this path is absolute and plain."""
    components = path.split(b"/")
    if len(path) > MAX_PATH or b"\0" in path or components[0] != b"" or len(components) < 2:
        raise DamagedError(f"{encode(path)[:200]!r} is not an absolute path")
    if path != b"/" and any(component in (b"", b".", b"..") for component in components[1:]):
        raise DamagedError(f"{encode(path)[:200]!r} does not stay where it says")


def inside(path: bytes, folder: bytes) -> bool:
    """Whether ``path`` is ``folder`` or lies in it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
