# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets from one file in the age format that holds YAML: the source that needs no server."""

from __future__ import annotations

import hashlib
from typing import Any, Mapping, Optional, Sequence

from ..age_keys import identities, library, required
from .documents import read_all
from .faults import SecretError
from .model import DeclaredSecret, ReadSecret


class AgeFile:
    """Read and decrypted once, at the first secret. Its version is the start of the digest of the encrypted file."""

    def __init__(self, file: str, identity_files: Sequence[str]) -> None:
        self.warnings: list[str] = []
        self._file = file
        self._identity_files = tuple(identity_files)
        self._document: Optional[Mapping[str, Any]] = None
        self._version = ""

    def read(self, secrets: Sequence[DeclaredSecret]) -> dict[str, ReadSecret]:
        if self._document is None:
            encrypted = content_of(self._file)
            self._version = version_of(encrypted)
            plain = decrypt(encrypted, self._identity_files, self._file)
            self._document = parsed(plain, self._file)
        return read_all(self._document, secrets, self._version, self._file, exact=True)

    def versions(self, secrets: Sequence[DeclaredSecret]) -> dict[str, Optional[str]]:
        version = version_of(content_of(self._file))
        return {secret.name: version for secret in secrets}

    def close(self) -> None:
        self._document = None


def content_of(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise SecretError("unreadable", f"the file cannot be read: {error.strerror}", where=file) from error


def version_of(encrypted: bytes) -> str:
    return hashlib.sha256(encrypted).hexdigest()[:12]


def decrypt(encrypted: bytes, identity_files: Sequence[str], where: str) -> bytes:
    """The plain content of an age file. Raises SecretError when no identity opens it."""
    age = library()
    keys = identities(identity_files)
    if not keys:
        fix = "Name the file of one in `identity_files`"
        raise SecretError("unreadable", "there is no identity to decrypt with", where=where, fix=fix)
    plain: Optional[bytes] = None
    try:
        plain = bytes(age.decrypt(encrypted, keys))
    except age.DecryptError:
        plain = None
    if plain is None:
        fix = "Encrypt it for the public key of this host: age-keygen -y shows it"
        raise SecretError(
            "unreadable", "none of the identities opens this file, or it is damaged", where=where, fix=fix
        )
    return plain


def parsed(content: bytes, where: str) -> Mapping[str, Any]:
    """YAML (or JSON) with keys on its first level. Raises SecretError that says nothing of what stands there."""
    yaml = required("yaml", "Reading secrets from a file", "PyYAML")
    document: Any = None
    try:
        document = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        raise SecretError(
            "unreadable",
            "what is encrypted is not YAML with paths and fields",
            where=where,
            fix="Decrypt it where you made it, and look there",
        )
    return document
