# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of an answer, whatever a server sends: what is not there, or is something else, counts as empty."""

from __future__ import annotations

from typing import Any, Mapping, Optional

_NOTHING: Mapping[str, Any] = {}


def part(body: Any, *keys: str) -> Mapping[str, Any]:
    """The object below these keys."""
    for key in keys:
        body = body.get(key) if isinstance(body, Mapping) else None
    return body if isinstance(body, Mapping) else _NOTHING


def text(body: Any, *keys: str) -> Optional[str]:
    """The text below these keys, the last of which names it; None for anything else, and for none at all."""
    found = part(body, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, str) and found else None


def number(body: Any, *keys: str) -> Optional[int]:
    """As ``text``, for an integer that is not negative."""
    found = part(body, *keys[:-1]).get(keys[-1])
    is_number = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    return found if is_number else None
