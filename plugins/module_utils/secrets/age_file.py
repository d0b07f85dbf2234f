# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets from one file in the age format that holds YAML: the source that needs no server."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, Sequence

from ..age_keys import identities, library, required
from . import credential_files
from .documents import DocumentFile
from .faults import SecretError


class AgeFile(DocumentFile):
    def opened(self, encrypted: bytes) -> Mapping[str, Any]:
        return parsed(decrypt(encrypted, self.identity_files, self.file), self.file)


def decrypt(encrypted: bytes, identity_files: Sequence[str], where: str) -> bytes:
    """The plain content of an age file. Raises SecretError when no identity opens it."""
    age = library()
    for file in identity_files:
        credential_files.check_private(file)
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


def parsed(content: bytes, where: str, loader: Any = None) -> Mapping[str, Any]:
    """JSON or YAML with keys on its first level. Raises SecretError that says nothing of what stands there.

    ``loader`` is one of PyYAML, else its safe one.
    """
    yaml = required("yaml", "Reading secrets from a file", "PyYAML")
    document: Any = None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    try:
        document = document or yaml.load(content.decode(), Loader=loader or yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        raise SecretError(
            "unreadable",
            "this is not YAML with paths and fields",
            where=where,
            fix="Decrypt it where you made it, and look there",
        )
    return document
