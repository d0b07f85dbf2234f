# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source that a user names."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

from ..effects import Clock
from .age_file import AgeFile
from .auth.methods import chosen
from .endpoint import Endpoint
from .faults import SecretError
from .model import Source
from .sops import SopsFile
from .vault import VaultSource

_FILES: Mapping[str, Any] = {"age": AgeFile, "sops": SopsFile}
_ENDPOINT = frozenset(field.name for field in dataclasses.fields(Endpoint))


def opened(options: Mapping[str, Any], clock: Clock) -> Source:
    """From ``kind`` and its own options (docs/secrets.md); those that are None count as not given.

    Asks nobody yet. Raises SecretError for options that cannot be meant.
    """
    given = {key: value for key, value in options.items() if key != "kind" and value is not None}
    kind = str(options.get("kind"))
    if kind in _FILES:
        _only(given, {"file", "identity_files"}, {"file", "identity_files"})
        source: Source = _FILES[kind](given["file"], given["identity_files"])
        return source
    if kind != "vault":
        raise _refused(f"{kind!r} is no source of secrets", "One of age, sops, vault")
    _only(given, _ENDPOINT | {"auth", "mounts"}, {"address", "auth"})
    settings = {key: value for key, value in given.items() if key in _ENDPOINT}
    settings["redirects_to"] = tuple(given.get("redirects_to") or ())
    return VaultSource(Endpoint(**settings), chosen(given["auth"]), clock, mounts=given.get("mounts"))


def _only(given: Mapping[str, Any], known: Any, needed: Any) -> None:
    foreign, absent = sorted(set(given) - set(known)), sorted(set(needed) - set(given))
    if foreign:
        raise _refused(f"this source does not take {', '.join(foreign)}", f"It takes {', '.join(sorted(known))}")
    if absent:
        raise _refused(f"this source needs {', '.join(absent)}")


def _refused(what: str, fix: str = "docs/secrets.md has them all") -> SecretError:
    return SecretError("unreadable", what, where="source", fix=fix)
