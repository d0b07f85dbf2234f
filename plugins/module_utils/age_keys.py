# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of the age format (https://age-encryption.org/v1): public ones to encrypt for, private ones from files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Optional, Sequence

from .errors import ContinuityError


def library() -> Any:
    """pyrage, the library for age. Raises ContinuityError where it is not installed."""
    return required("pyrage", "Encryption in the age format")


def required(name: str, purpose: str, package: Optional[str] = None) -> Any:
    """Import an optional library. Raises ContinuityError that names its package (None: that of the module's name)."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = package or name.partition(".")[0]
        raise ContinuityError(
            f"{purpose} needs the Python library {package}, which is not installed",
            fix=f"Install it for the Python that runs this: python3 -m pip install {package}",
        ) from error


def recipients(keys: Sequence[str], file: Optional[str] = None) -> list[Any]:
    """Public keys as given and from a file, one a line. Raises ContinuityError for what is none."""
    lines = [(key.strip(), "recipients") for key in keys]
    if file is not None:
        lines += [(line, f"{file}:{number}") for number, line in _lines(file)]
    return [_recipient(key, where) for key, where in lines]


def _recipient(key: str, where: str) -> Any:
    age = library()
    try:
        return age.ssh.Recipient.from_str(key) if key.startswith("ssh-") else age.x25519.Recipient.from_str(key)
    except age.RecipientError as error:
        private = key.upper().startswith("AGE-SECRET-KEY-")
        raise ContinuityError(
            "This is a private key, where a public one belongs" if private else "This is not a public key of age",
            where=where,
            fix="A public key starts with age1, ssh-ed25519 or ssh-rsa",
        ) from error


def identities(files: Sequence[str]) -> list[Any]:
    """Private keys from files: age identities, one a line, or an SSH key. Raises ContinuityError for what is none."""
    keys: list[Any] = []
    for file in files:
        content = _content(file)
        age = library()
        try:
            if b"-----BEGIN" in content:
                keys.append(age.ssh.Identity.from_buffer(content))
            else:
                keys += [age.x25519.Identity.from_str(line) for _number, line in _lines(file)]
        except age.IdentityError as error:
            raise ContinuityError("This is not an identity of age", where=file, fix="age-keygen makes one") from error
    return keys


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ContinuityError(f"The file with keys cannot be read: {error.strerror}", where=file) from error


def _lines(file: str) -> list[tuple[int, str]]:
    """The lines that hold a key, with their numbers."""
    text = _content(file).decode("utf-8", "replace")
    numbered = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]
