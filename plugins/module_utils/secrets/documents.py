# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an address means in a document: a path of levels, and a field below it."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, Sequence

from .faults import SecretError, collected
from .model import WHOLE, DeclaredSecret, Hidden, ReadSecret


def value_of(fields: Any, secret: DeclaredSecret, *, exact: bool) -> Hidden:
    """The value of a field. ``exact`` refuses what is not text: in YAML it may not be what its author wrote.

    Raises SecretError ``missing``, and ``unreadable`` for a value that is none.
    """
    if secret.field == WHOLE:
        return Hidden(json.dumps(fields, sort_keys=True, ensure_ascii=False).encode())
    if not isinstance(fields, Mapping) or secret.field not in fields:
        raise SecretError("missing", f"there is no field {secret.field!r}", where=secret.path)
    value = fields[secret.field]
    if isinstance(value, str):
        return Hidden(value.encode())
    if isinstance(value, bytes):
        return Hidden(value)
    if exact or value is None:
        raise SecretError(
            "unreadable",
            f"the field {secret.field!r} is not text",
            where=secret.path,
            fix="Write the value in quotes",
        )
    return Hidden(json.dumps(value, sort_keys=True, ensure_ascii=False).encode())


def read_all(
    document: Any, secrets: Sequence[DeclaredSecret], version: str, where: str, *, exact: bool
) -> dict[str, ReadSecret]:
    """All secrets of one document. Raises SecretError with every failure."""
    found: dict[str, ReadSecret] = {}
    failures: dict[str, SecretError] = {}
    for secret in secrets:
        try:
            if secret.dynamic or secret.version is not None:
                raise SecretError("missing", "a file has no versions and makes nothing", where=secret.path)
            fields = _below(document, secret.path)
            found[secret.name] = ReadSecret(secret.name, value_of(fields, secret, exact=exact), version)
        except SecretError as error:
            error.where = f"{where}: {error.where}"
            failures[secret.name] = error
    if failures:
        raise collected(failures)
    return found


def _below(document: Any, path: str) -> Any:
    """What stands below a path, whose levels may be written as one key with slashes, or as keys below keys."""
    found = _descend(document, path.split("/"))
    if found is None:
        raise SecretError("missing", "there is no such path", where=path)
    return found


def _descend(level: Any, parts: Sequence[str]) -> Optional[Any]:
    if not parts:
        return level
    if not isinstance(level, Mapping):
        return None
    for taken in range(len(parts), 0, -1):
        key = "/".join(parts[:taken])
        if key in level:
            found = _descend(level[key], parts[taken:])
            if found is not None:
                return found
    return None
