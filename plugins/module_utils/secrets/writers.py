# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where values are written: a path of Vault, or a line of an age file. Nothing that is there is ever overwritten."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
from typing import Any, Mapping, Optional, Protocol, Sequence
from urllib.parse import quote

from ..age_keys import library, recipients
from ..effects import Clock
from ..journal.durable import locked, sync_directory, write_file
from .age_file import decrypt, parsed
from .auth.method import AuthMethod
from .auth.methods import chosen
from .endpoint import Endpoint
from .faults import SecretError
from .migration_files import read_whole, replace
from .model import Hidden
from .mounts import Mounts
from .patience import Patience
from .transport import client

FIELD = "value"


class Writer(Protocol):
    def write(self, path: str, value: Hidden) -> None:
        """Put a value where there is none, durably. Raises SecretError, ``refused`` when there is one."""

    def take_back(self, path: str, value: Hidden, version: Optional[str]) -> None:
        """Remove what ``write`` put there: this value, of this version, where the source has versions."""

    def close(self) -> None:
        """Give back what was taken: tokens, connections."""


class VaultWriter:
    def __init__(self, endpoint: Endpoint, auth: AuthMethod, clock: Clock, mounts: Mapping[str, Any]) -> None:
        self._auth = auth
        self._mounts = Mounts(mounts)
        self._client = client(endpoint, Patience(endpoint.patience, clock, random.random))
        self._logged_in = False

    def write(self, path: str, value: Hidden) -> None:
        mount = self._mounts.of(path, self._ready())
        below, fields = path[len(mount.path) + 1 :], {FIELD: value.text()}
        if mount.version == 1:
            self._client.secrets.kv.v1.create_or_update_secret(below, fields, method="POST", mount_point=mount.path)
            return
        self._client.secrets.kv.v2.create_or_update_secret(
            below, fields, cas=self._last_deleted(below, mount.path), mount_point=mount.path
        )

    def take_back(self, path: str, value: Hidden, version: Optional[str]) -> None:
        mount = self._mounts.of(path, self._ready())
        below = path[len(mount.path) + 1 :]
        if mount.version == 1:
            self._client.adapter.request("delete", f"/v1/{quote(path)}")
        elif version is not None:
            self._client.secrets.kv.v2.delete_secret_versions(below, [int(version)], mount_point=mount.path)

    def close(self) -> None:
        adapter = self._client.adapter
        try:
            if self._logged_in and self._auth.owned:
                self._client.auth.token.revoke_self()
        finally:
            adapter.hidden_token = None
            adapter.close()

    def _ready(self) -> Any:
        if not self._logged_in:
            refusal: Optional[SecretError] = None
            try:
                self._auth.login(self._client)
            except SecretError as error:
                if error.code not in ("refused", "denied", "missing"):
                    raise
                refusal = error
            if refusal is not None:
                what = f"Vault refuses the login of the writer: {refusal.what}"
                raise SecretError("login_refused", what, where=refusal.where, fix="Check `auth` of the writer")
            self._logged_in = True
        return self._client

    def _last_deleted(self, path: str, mount: str) -> int:
        """The number that check-and-set wants: 0 where nothing was ever written."""
        try:
            body = self._client.secrets.kv.v2.read_secret_metadata(path, mount_point=mount)
        except SecretError as error:
            if error.code not in ("missing", "denied"):
                raise
            return 0
        data = (body or {}).get("data") or {}
        number = int(data.get("current_version") or 0)
        version = (data.get("versions") or {}).get(str(number)) or {}
        if number and not version.get("deletion_time") and not version.get("destroyed"):
            raise SecretError("refused", "there is a secret already", where=f"{mount}/{path}")
        return number


class AgeWriter:
    """Adds a line for each value to the YAML in an age file; what else stands there stays, byte for byte."""

    def __init__(self, file: str, identity_files: Sequence[str], keys: Sequence[str]) -> None:
        self._file = os.path.abspath(file)
        self._identity_files = tuple(identity_files)
        self._keys = tuple(keys)

    def write(self, path: str, value: Hidden) -> None:
        with locked(f"{self._file}.lock"):
            encrypted, plain = self._read()
            if path in (self._document(plain) or {}):
                raise SecretError("refused", "there is a secret already", where=path)
            gap = b"" if not plain or plain.endswith(b"\n") else b"\n"
            self._replace(encrypted, plain, plain + gap + _line(path, value), {path: {FIELD: value.text()}})

    def take_back(self, path: str, value: Hidden, version: Optional[str]) -> None:
        with locked(f"{self._file}.lock"):
            encrypted, plain = self._read()
            lines = plain.splitlines(keepends=True)
            kept = [line for line in lines if line != _line(path, value)]
            if len(kept) == len(lines):
                raise SecretError("missing", "the line that was added is not there any more", where=path)
            if not b"".join(kept).strip():
                # Without a path in it, it would be no source any more; `write` makes it anew.
                os.unlink(self._file)
                sync_directory(os.path.dirname(self._file))
                return
            self._replace(encrypted, plain, b"".join(kept), {path: None})

    def close(self) -> None:
        """Nothing was taken."""

    def _read(self) -> tuple[Optional[bytes], bytes]:
        """The file encrypted (None when there is none) and plain."""
        if not os.path.lexists(self._file):
            return None, b""
        encrypted = read_whole(self._file)
        return encrypted, decrypt(encrypted, self._identity_files, self._file)

    def _document(self, plain: bytes) -> Optional[dict[str, Any]]:
        """What the file says; None for what is no YAML with paths and fields."""
        try:
            return dict(parsed(plain, self._file)) if plain.strip() else {}
        except SecretError:
            return None

    def _replace(self, encrypted: Optional[bytes], plain: bytes, new: bytes, changed: Mapping[str, Any]) -> None:
        """Raises SecretError unless just that changed, and we can read it."""
        before = self._document(plain)
        wanted = {key: value for key, value in {**(before or {}), **changed}.items() if value is not None}
        if before is None or self._document(new) != wanted:
            fix = "Let it be a block of YAML: path, colon, fields below"
            raise SecretError("unreadable", "a line cannot be added to this file", where=self._file, fix=fix)
        if encrypted is not None and _recipients_of(encrypted) > len(self._keys):
            fix = "Name the public keys of all hosts that read it as `recipients` of the writer"
            raise SecretError("refused_keys", "the file is encrypted for more keys", where=self._file, fix=fix)
        content = bytes(library().encrypt(new, recipients(self._keys)))
        if decrypt(content, self._identity_files, self._file) != new:
            raise SecretError("unreadable", "what was encrypted cannot be decrypted", where=self._file)
        if encrypted is None:
            write_file(self._file, content, 0o600)
        else:
            replace(os.path.dirname(self._file), os.path.basename(self._file), encrypted, content, "new")


def writer_of(source: Mapping[str, Any], writer: Mapping[str, Any], clock: Clock) -> Writer:
    """For a source (docs/secrets.md) and what writing takes beside it (docs/secret-migration.md)."""
    kind = source.get("kind")
    if kind == "age":
        _only(writer, "recipients")
        return AgeWriter(source["file"], source["identity_files"], writer["recipients"])
    if kind != "vault":
        fix = "Write them with sops, and use this for what reads them"
        raise SecretError("unreadable", f"nothing can be written to a source of the kind {kind}", fix=fix)
    _only(writer, "auth")
    names = [field.name for field in dataclasses.fields(Endpoint)]
    settings = {name: source[name] for name in names if source.get(name) is not None}
    settings["redirects_to"] = tuple(source.get("redirects_to") or ())
    return VaultWriter(Endpoint(**settings), chosen(writer["auth"]), clock, source.get("mounts") or {})


def _only(writer: Mapping[str, Any], name: str) -> None:
    given = sorted(key for key, value in writer.items() if value is not None)
    if given != [name]:
        raise SecretError("unreadable", f"the writer for this source takes {name}, and nothing else", where="writer")


def _recipients_of(encrypted: bytes) -> int:
    """How many an age file is encrypted for: the stanzas of its header (https://age-encryption.org/v1)."""
    header = encrypted.split(b"\n---", 1)[0]
    return len(re.findall(rb"^-> (?:X25519|ssh-rsa|ssh-ed25519) ", header, re.MULTILINE))


def _line(path: str, value: Hidden) -> bytes:
    """One line of YAML that means the same to every reader of it."""
    return f"{json.dumps(path)}: {{{FIELD}: {_quoted(value.text())}}}\n".encode()


def _quoted(text: str) -> str:
    """A YAML scalar in double quotes, in ASCII."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    number = ord(character)
    if character in '"\\':
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
