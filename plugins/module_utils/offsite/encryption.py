# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption in the age format (https://age-encryption.org/v1), by the library pyrage.

An age file is a header of text lines, the last of which starts with ``---``, then a nonce of 16
bytes and the payload in pieces of 64 KiB, each 16 bytes longer than what it holds. So the size
of a whole age file can be told from its beginning and the size of what it holds.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, BinaryIO, Optional, Sequence

from .. import age_keys
from .faults import DamagedObjectError, OffsiteError, WrongIdentityError
from .store import BEGINNING, Peek

_MAGIC = b"age-encryption.org/v1\n"
_HEADER = re.compile(rb"age-encryption\.org/v1\n(?:.*\n)*?--- [A-Za-z0-9+/]{43}\n")
_PIECE = 64 * 1024
_TAG = 16
_NONCE = 16
_SHORTEST_HEADER = 120
_LONGEST_HEADER = 64 * 1024


def payload_size(plain: int) -> int:
    """The bytes of an age file after its header."""
    return _NONCE + plain + _TAG * max(1, -(-plain // _PIECE))


def plausible(size: int, plain: int) -> bool:
    """Whether an age file of this size may hold so many bytes."""
    return _SHORTEST_HEADER <= size - payload_size(plain) <= _LONGEST_HEADER


def most(plain: int) -> int:
    """The bytes that an age file may have that holds so many."""
    return payload_size(plain) + _LONGEST_HEADER


def fault(peek: Peek, plain: int) -> str:
    """Why this cannot be an age file that holds so many bytes; empty when it can."""
    if not peek.beginning.startswith(_MAGIC):
        return "The object is not an age file"
    header = _HEADER.match(peek.beginning)
    if header is None:
        # A header of many recipients goes beyond what was looked at.
        long = peek.size > len(peek.beginning) and plausible(peek.size, plain)
        return "" if long else "The object is not a whole age file"
    wanted = header.end() + payload_size(plain)
    return "" if peek.size == wanted else f"The object has {peek.size} bytes instead of {wanted}"


def fault_of_file(file: Path, plain: int) -> str:
    """The same of a file."""
    with open(file, "rb") as stream:
        return fault(Peek(file.stat().st_size, stream.read(BEGINNING)), plain)


class Recipients:
    """Public keys for which objects are encrypted."""

    def __init__(self, keys: Sequence[Any], library: Any) -> None:
        self._keys = list(keys)
        self._library = library

    def encrypt(self, source: Path, target: Path) -> str:
        """Write the age file; the SHA-256 (hexadecimal) of what was read. Raises OSError."""
        with open(source, "rb") as plain, open(target, "wb") as sealed:
            reading = _Digesting(plain)
            self._library.encrypt_io(reading, sealed, self._keys)
        return reading.digest.hexdigest()


class Identities:
    """Private keys that open objects."""

    def __init__(self, keys: Sequence[Any], library: Any) -> None:
        self._keys = list(keys)
        self._library = library

    def decrypt(self, source: Path, target: Optional[Path], name: str) -> str:
        """Write what the age file holds (None: nowhere); its SHA-256 (hexadecimal).

        Raises WrongIdentityError, DamagedObjectError that name the object ``name``, and OSError.
        """
        with open(source, "rb") as sealed, open("/dev/null" if target is None else target, "wb") as plain:
            writing = _Digesting(plain)
            try:
                self._library.decrypt_io(sealed, writing, self._keys)
            except self._library.DecryptError as error:
                if "No matching keys" in str(error):
                    raise WrongIdentityError(
                        "None of the given identities opens this object",
                        where=name,
                        fix="Name the file of an identity for whose public key the copy was made",
                    ) from error
                raise DamagedObjectError(f"The object is not a whole age file ({error})", where=name) from error
            except OSError as error:
                if error.errno is not None:
                    raise
                raise DamagedObjectError("The object was changed or cut off", where=name) from error
        return writing.digest.hexdigest()


class _Digesting:
    """A file that digests what is read from it or written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self.digest.update(content)
        return content

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()


def read_recipients(keys: Sequence[str], file: Optional[str]) -> Recipients:
    """Public keys as given and from a file, one a line. Raises ContinuityError, also when there are none."""
    library = age_keys.library()
    found = age_keys.recipients(keys, file)
    if not found:
        raise OffsiteError(
            "There is no public key to encrypt for",
            where=file,
            fix="Make an identity with age-keygen, and name its public key in recipients or recipients_file",
        )
    return Recipients(found, library)


def read_identities(files: Sequence[str]) -> Identities:
    """Private keys from files: age identities, one a line, or an SSH key. Raises ContinuityError, also when
    there are none."""
    library = age_keys.library()
    found = age_keys.identities(files)
    if not found:
        raise OffsiteError(
            "This needs an identity, the private key that opens the copy",
            where=", ".join(files) or None,
            fix="Name the file of one in identity_files",
        )
    return Identities(found, library)
