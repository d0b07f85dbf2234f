# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that hold many secrets: a document of paths of levels, and fields below them."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from functools import partial
from typing import Any, Mapping, Optional, Sequence

from .faults import SecretError, collected, tried
from .model import WHOLE, DeclaredSecret, Hidden, ReadSecret


def value_of(fields: Any, secret: DeclaredSecret, where: str, *, exact: bool) -> Hidden:
    """The value of a field. ``exact`` refuses what is not text: in YAML it may not be what its author wrote.

    Raises SecretError ``missing``, and ``unreadable`` for a value that is none.
    """
    if secret.field == WHOLE:
        return _as_json(fields, where)
    if not isinstance(fields, Mapping) or secret.field not in fields:
        raise SecretError("missing", f"there is no field {secret.field!r}", where=where)
    value = fields[secret.field]
    if isinstance(value, str):
        return Hidden(value.encode())
    if isinstance(value, bytes):
        return Hidden(value)
    if exact or value is None:
        raise SecretError(
            "unreadable",
            f"the field {secret.field!r} is not text",
            where=where,
            fix="Write the value in quotes",
        )
    return _as_json(value, where)


def _as_json(value: Any, where: str) -> Hidden:
    text: Optional[str] = None
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        text = None
    if text is None:
        raise SecretError(
            "unreadable", "what stands there has no form in JSON", where=where, fix="Name one field of it"
        )
    return Hidden(text.encode())


class DocumentFile(ABC):
    """An encrypted file, opened once, at the first secret. Its version is the start of the digest of the encrypted
    file."""

    def __init__(self, file: str, identity_files: Sequence[str]) -> None:
        self.warnings: list[str] = []
        self.file = file
        self.identity_files = tuple(identity_files)
        self._document: Optional[Mapping[str, Any]] = None
        self._version = ""

    @abstractmethod
    def opened(self, encrypted: bytes) -> Mapping[str, Any]:
        """The document. Raises SecretError that says nothing of what stands there."""

    def read(self, secrets: Sequence[DeclaredSecret]) -> dict[str, ReadSecret]:
        _done, error = tried(self._load)
        if error is not None:
            raise error
        outcomes = {secret.name: tried(partial(self._value, secret)) for secret in secrets}
        failures = {name: error for name, (_found, error) in outcomes.items() if error is not None}
        if failures:
            raise collected(failures)
        return {name: found for name, (found, _error) in outcomes.items() if found is not None}

    def versions(self, secrets: Sequence[DeclaredSecret]) -> dict[str, Optional[str]]:
        version = _version(self._content())
        return {secret.name: version for secret in secrets}

    def close(self) -> None:
        self._document = None

    def _load(self) -> None:
        if self._document is None:
            encrypted = self._content()
            self._document = self.opened(encrypted)
            self._version = _version(encrypted)

    def _content(self) -> bytes:
        reason: Optional[str] = None
        try:
            with open(self.file, "rb") as opened:
                return opened.read()
        except OSError as error:
            reason = error.strerror
        raise SecretError("unreadable", f"the file cannot be read: {reason}", where=self.file)

    def _value(self, secret: DeclaredSecret) -> ReadSecret:
        where = f"{self.file}: {secret.path}"
        if secret.dynamic or secret.version is not None:
            raise SecretError("missing", "a file keeps no versions and makes nothing", where=where)
        fields = found_in(self._document, secret.path)
        if fields is None:
            raise SecretError("missing", "there is no such path", where=where)
        return ReadSecret(secret.name, value_of(fields, secret, where, exact=True), self._version)


def _version(encrypted: bytes) -> str:
    return hashlib.sha256(encrypted).hexdigest()[:12]


def found_in(document: Any, path: str) -> Any:
    """What stands below a path, whose levels may be written as one key with slashes, or as keys below keys.
    None where nothing does."""
    return _descend(document, path.split("/"))


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
