# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets from YAML and JSON that SOPS encrypted for age recipients (https://getsops.io).

A value is ``ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]``, sealed under the data key of the file with its path as
associated data; the data key stands in ``sops.age``, once for each recipient. ``sops.mac`` is SHA-512 over all
values in their order, sealed with the time of the last change: values that were swapped, added or removed are noticed.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import hashlib
import hmac
import re
from types import MappingProxyType
from typing import Any, Mapping, Optional

from ..age_keys import required
from .age_file import decrypt, parsed
from .documents import DocumentFile
from .faults import SecretError

_SEALED = re.compile(r"ENC\[AES256_GCM,data:(?P<data>[^,]*),iv:(?P<iv>[^,]+),tag:(?P<tag>[^,]+),type:(?P<type>\w+)\]")
_OTHERS = ("pgp", "kms", "gcp_kms", "azure_kv", "hc_vault")
_PLAIN = MappingProxyType(
    {
        "bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
        "int": re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)\Z"),
        "float": re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"),
    }
)
"""What YAML calls a truth value or a number, without quotes."""
_Path = tuple[str, ...]


class SopsFile(DocumentFile):
    def opened(self, encrypted: bytes) -> Mapping[str, Any]:
        document = parsed(encrypted, self.file, _as_go_reads_yaml())
        settings = document.get("sops")
        if not isinstance(settings, Mapping):
            raise self._refused("this file was not encrypted by SOPS")
        if settings.get("key_groups") or settings.get("shamir_threshold"):
            raise self._refused("its key is shared among groups", "Encrypt it for one group of age recipients")
        tree = _Tree(_Box(self._data_key(settings), self.file), only_sealed=str(settings.get("mac_only_encrypted")))
        plain = {key: tree.opened(value, (str(key),)) for key, value in document.items() if key != "sops"}
        changed = settings.get("lastmodified")
        time = changed.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(changed, datetime.datetime) else str(changed)
        written, _kind = tree.box.open(str(settings.get("mac")), time)
        if not hmac.compare_digest(written, tree.digest.hexdigest().upper().encode()):
            fix = "Compare it with its history"
            raise self._refused("values were added, removed or swapped since SOPS wrote it", fix)
        return plain

    def _data_key(self, settings: Mapping[str, Any]) -> bytes:
        sealed = [str(entry.get("enc", "")) for entry in settings.get("age") or [] if isinstance(entry, Mapping)]
        if not sealed:
            others = ", ".join(name for name in _OTHERS if settings.get(name)) or "nobody"
            raise self._refused(f"it is encrypted for {others}, not for age", "Add an age recipient: sops updatekeys")
        failure: Optional[SecretError] = None
        for text in sealed:
            try:
                return decrypt(text.encode(), self.identity_files, self.file)
            except SecretError as error:
                failure = error
        raise failure or self._refused("there is no key in it")

    def _refused(self, what: str, fix: Optional[str] = None) -> SecretError:
        return SecretError("unreadable", what, where=self.file, fix=fix)


def _as_go_reads_yaml() -> Any:
    """A loader of PyYAML for which values are what they are for SOPS: ``yes`` is text, ``1e-7`` a number."""
    yaml = required("yaml", "Reading secrets from a file", "PyYAML")
    tags = {tag: f"tag:yaml.org,2002:{tag}" for tag in _PLAIN}
    kept = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in tags.values()]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    loader: Any = type("GoLoader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": kept})
    for tag, pattern in _PLAIN.items():
        loader.add_implicit_resolver(tags[tag], pattern, None)
    return loader


class _Box:
    def __init__(self, key: bytes, where: str) -> None:
        ciphers = required("cryptography.hazmat.primitives.ciphers.aead", "Reading files of SOPS")
        self._invalid = required("cryptography.exceptions", "Reading files of SOPS").InvalidTag
        self._where = where
        if len(key) != 32:
            raise SecretError("unreadable", "its key has the wrong length", where=where)
        self._cipher = ciphers.AESGCM(key)

    def open(self, text: str, bound: str) -> tuple[bytes, str]:
        """A value as bytes, and its type. Raises SecretError for one that was changed or moved."""
        found = _SEALED.fullmatch(text)
        value: Optional[bytes] = None
        if found:
            try:
                data, iv, tag = (base64.b64decode(found[name], validate=True) for name in ("data", "iv", "tag"))
                value = bytes(self._cipher.decrypt(iv, data + tag, bound.encode()))
            except (self._invalid, ValueError):
                value = None
        if found is None or value is None:
            raise SecretError("unreadable", "a value was changed, or belongs elsewhere", where=self._where)
        return value, found["type"]


class _Tree:
    """Opens sealed values, and sums up all that it comes by, as SOPS does for its MAC."""

    def __init__(self, box: _Box, *, only_sealed: str) -> None:
        self.box = box
        self.digest = hashlib.sha512()
        self._only_sealed = only_sealed.lower() == "true"
        if self._only_sealed:
            self.digest.update(hashlib.sha256(b"sops").digest())

    def opened(self, node: Any, path: _Path) -> Any:
        """A part of the tree, in the order in which it is written. What stands in a list is bound to the list's path."""
        if isinstance(node, Mapping):
            return {key: self.opened(value, (*path, str(key))) for key, value in node.items()}
        if isinstance(node, list):
            return [self.opened(value, path) for value in node]
        if isinstance(node, str) and _SEALED.fullmatch(node):
            value, kind = self.box.open(node, "".join(f"{part}:" for part in path))
            self.digest.update(value)
            return _typed(value, kind)
        if node is not None and not self._only_sealed:
            self.digest.update(_unsealed(node))
        return node


def _typed(value: bytes, kind: str) -> Any:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value
    if kind == "bytes":
        return value
    if kind in ("int", "int64"):
        return int(text)
    if kind == "float":
        return float(text)
    return text.lower() == "true" if kind == "bool" else text


def _unsealed(value: Any) -> bytes:
    """A value that SOPS left as it was, as it sums it up."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, float):
        digits = format(decimal.Decimal(repr(value)), "f")
        return (digits.rstrip("0").rstrip(".") if "." in digits else digits).encode()
    if isinstance(value, datetime.date):
        text = value.isoformat() if isinstance(value, datetime.datetime) else f"{value.isoformat()}T00:00:00"
        return (text.replace("+00:00", "Z") if "+" in text else f"{text}Z").encode()
    return str(value).encode()
