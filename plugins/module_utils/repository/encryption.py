# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption of blocks (docs/snapshot-format.md, section 8). The random data key of a repository stands in its
config.json, encrypted in the age format; from it two keys are derived, one for names and one for contents."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import struct
from typing import Any, Mapping, Optional, Sequence, Union

from ..age_keys import identities, library, recipients, required
from .faults import DamagedError, RepositoryError
from .naming import Blocks

AES_256_GCM = 1
NONCE, TAG = 12, 16
OVERHEAD = NONCE + TAG
_NAMES = b"fleetops.continuity names 1"
_CONTENTS = b"fleetops.continuity contents 1"
_PATHS = b"fleetops.continuity path"
_BOUND = struct.Struct(">32sBI")


class SealedBlocks:
    """AES-256-GCM with a random nonce for each block; names are HMAC-SHA-256."""

    encryption = AES_256_GCM
    keyed = True

    def __init__(self, data_key: bytes) -> None:
        ciphers = required("cryptography.hazmat.primitives.ciphers.aead", "An encrypted repository")
        exceptions = required("cryptography.exceptions", "An encrypted repository")
        self._names = hmac.new(derive(data_key, _NAMES), digestmod=hashlib.sha256)
        self._cipher = ciphers.AESGCM(derive(data_key, _CONTENTS))
        self._invalid = exceptions.InvalidTag

    def name(self, plain: Union[bytes, memoryview]) -> bytes:
        keyed = self._names.copy()
        keyed.update(plain)
        return keyed.digest()

    def seal(self, name: bytes, compression: int, length: int, payload: bytes) -> bytes:
        return self._seal(payload, _BOUND.pack(name, compression, length))

    def open(self, name: bytes, compression: int, length: int, sealed: Any) -> bytes:
        return self._open(sealed, _BOUND.pack(name, compression, length))

    def seal_path(self, path: bytes) -> str:
        return base64.b64encode(self._seal(path, _PATHS)).decode()

    def open_path(self, text: str) -> bytes:
        try:
            return self._open(base64.b64decode(text, validate=True), _PATHS)
        except binascii.Error as error:
            raise DamagedError("A path in a manifest is not encrypted as it should be") from error

    def _seal(self, plain: bytes, bound: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + bytes(self._cipher.encrypt(nonce, plain, bound))

    def _open(self, sealed: Any, bound: bytes) -> bytes:
        if len(sealed) < OVERHEAD:
            raise DamagedError("An encrypted block is cut off")
        try:
            return bytes(self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], bound))
        except self._invalid as error:
            raise DamagedError("An encrypted block was changed, or belongs elsewhere") from error


class LockedBlocks:
    """An encrypted repository that was opened without a key: its manifests can be read, nothing else."""

    encryption = AES_256_GCM
    keyed = True

    def __init__(self, where: str) -> None:
        self._where = where

    def name(self, plain: Union[bytes, memoryview]) -> bytes:
        raise self._refusal()

    def seal(self, name: bytes, compression: int, length: int, payload: bytes) -> bytes:
        raise self._refusal()

    def open(self, name: bytes, compression: int, length: int, sealed: Any) -> bytes:
        raise self._refusal()

    def seal_path(self, path: bytes) -> str:
        raise self._refusal()

    def open_path(self, text: str) -> bytes:
        raise self._refusal()

    def _refusal(self) -> RepositoryError:
        return RepositoryError(
            "This repository is encrypted",
            where=self._where,
            fix="Name the file of an identity that opens it: identity_files, or --identity-file",
        )


def derive(data_key: bytes, purpose: bytes) -> bytes:
    """HKDF-SHA-256 (RFC 5869) without salt, 32 bytes."""
    extracted = hmac.new(bytes(32), data_key, hashlib.sha256).digest()
    return hmac.new(extracted, purpose + b"\1", hashlib.sha256).digest()


def new_key(keys: Sequence[str], file: Optional[str]) -> dict[str, Any]:
    """What ``encryption`` in config.json says of a new random data key, which these recipients can open."""
    wanted = recipients(keys, file)
    if not wanted:
        raise RepositoryError("There is no public key to encrypt for", where=file, fix="age-keygen makes a pair")
    # Taking a snapshot needs the other library: say now that it is missing.
    required("cryptography.hazmat.primitives.ciphers.aead", "An encrypted repository")
    armored = library().encrypt(os.urandom(32).hex().encode() + b"\n", wanted, armored=True)
    return {"key": armored.decode()}


def unlock(encryption: Mapping[str, Any], identity_files: Sequence[str], where: str) -> Blocks:
    """The blocks of a repository whose config.json says this. Raises RepositoryError when no identity opens it."""
    if not identity_files:
        return LockedBlocks(where)
    keys = identities(identity_files)
    age = library()
    try:
        text = age.decrypt(str(encryption["key"]).encode(), keys)
        data_key = bytes.fromhex(text.decode("ascii"))
    except age.DecryptError as error:
        raise RepositoryError(
            "None of the given identities opens this repository",
            where=where,
            fix="Name the file of one for whose public key it was made",
        ) from error
    except (KeyError, ValueError) as error:
        raise DamagedError("The data key in config.json cannot be read", where=where) from error
    if len(data_key) != 32:
        raise DamagedError("The data key in config.json has the wrong length", where=where)
    return SealedBlocks(data_key)
