# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines that compute: transit, PKI, and accounts of a database."""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .engine import Call, Engine
from .kv import children
from .messages import Refusal, Reply, answer, missing, nothing, seconds, unsupported
from .tokens import random_id


@dataclass
class TransitKey:
    versions: list[bytes] = field(default_factory=lambda: [os.urandom(32)])
    deletable: bool = False


class Transit(Engine):
    def __init__(self) -> None:
        self.keys: dict[str, TransitKey] = {}

    def handle(self, call: Call) -> Reply:
        action, _slash, rest = call.path.partition("/")
        if action == "keys":
            return self._manage(call, rest)
        if call.operation != "update":
            raise unsupported()
        if action in ("encrypt", "decrypt", "rewrap"):
            work = {"encrypt": self._encrypt, "decrypt": self._decrypt, "rewrap": self._rewrap}[action]
            return self._batch(call, rest, work) if "batch_input" in call.body else answer(work(rest, call.body))
        if action == "hmac":
            name, _slash, algorithm = rest.partition("/")
            key = self._key(name)
            text = _plain(call.body.get("input"), "missing input", "unable to decode input as base64")
            digest = hmac.new(key.versions[-1], text, algorithm or "sha256").digest()
            return answer({"hmac": f"vault:v{len(key.versions)}:{_encoded(digest)}"})
        if action == "datakey":
            return self._datakey(call, *rest.split("/", 1))
        raise missing()

    def _manage(self, call: Call, rest: str) -> Reply:
        name, _slash, action = rest.partition("/")
        if call.operation == "list":
            return answer({"keys": children(self.keys, "")})
        if call.operation == "update" and not action:
            self.keys.setdefault(name, TransitKey())
            return nothing()
        if name not in self.keys:
            raise missing() if call.operation == "read" else Refusal(400, "no existing key named " + name + " found")
        if call.operation == "update" and action == "rotate":
            self.keys[name].versions.append(os.urandom(32))
        elif call.operation == "update" and action == "config":
            self.keys[name].deletable = bool(call.body.get("deletion_allowed"))
        elif call.operation == "delete" and not action:
            if not self.keys[name].deletable:
                raise Refusal(400, "error deleting policy " + name + ": deletion is not allowed for this key")
            del self.keys[name]
        elif call.operation == "read" and not action:
            key = self.keys[name]
            versions = {str(number): 0 for number in range(1, len(key.versions) + 1)}
            return answer({"name": name, "type": "aes256-gcm96", "keys": versions, "latest_version": len(versions)})
        else:
            raise unsupported()
        return nothing()

    def _key(self, name: str) -> TransitKey:
        if name not in self.keys:
            raise Refusal(400, "encryption key not found")
        return self.keys[name]

    def _batch(self, call: Call, name: str, work: Any) -> Reply:
        results: list[dict[str, Any]] = []
        for item in call.body["batch_input"]:
            try:
                results.append(work(name, item))
            except Refusal as refusal:
                results.append({"error": refusal.errors[0]})
        failed = any("error" in result for result in results)
        return answer({"batch_results": results}, status=call.profile.bad_batch if failed else 200)

    def _encrypt(self, name: str, item: dict[str, Any]) -> dict[str, Any]:
        plain = _plain(item.get("plaintext"), "missing plaintext to encrypt", "failed to base64-decode plaintext")
        key = self.keys.setdefault(name, TransitKey())
        nonce = os.urandom(12)
        sealed = nonce + AESGCM(key.versions[-1]).encrypt(nonce, plain, None)
        return {"ciphertext": f"vault:v{len(key.versions)}:{_encoded(sealed)}", "key_version": len(key.versions)}

    def _decrypt(self, name: str, item: dict[str, Any]) -> dict[str, Any]:
        return {"plaintext": _encoded(self._opened(name, item))}

    def _rewrap(self, name: str, item: dict[str, Any]) -> dict[str, Any]:
        return self._encrypt(name, {"plaintext": _encoded(self._opened(name, item))})

    def _opened(self, name: str, item: dict[str, Any]) -> bytes:
        text = item.get("ciphertext")
        if not text:
            raise Refusal(400, "missing ciphertext to decrypt")
        key = self._key(name)
        if not text.startswith("vault:v"):
            raise Refusal(400, "invalid ciphertext: no prefix")
        number, _colon, encoded = text[len("vault:v") :].partition(":")
        try:
            version = int(number)
        except ValueError:
            raise Refusal(400, "invalid ciphertext: version number could not be decoded") from None
        if version > len(key.versions):
            raise Refusal(400, "invalid ciphertext: version is too new")
        try:
            sealed = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise Refusal(400, "invalid ciphertext: could not decode base64") from None
        try:
            return AESGCM(key.versions[version - 1]).decrypt(sealed[:12], sealed[12:], None)
        except (InvalidTag, ValueError):
            raise Refusal(500, "1 error occurred:\n\t* cipher: message authentication failed\n\n") from None

    def _datakey(self, call: Call, kind: str, name: str) -> Reply:
        if kind not in ("plaintext", "wrapped"):
            raise Refusal(400, "Invalid path, must be 'plaintext' or 'wrapped'")
        bits = call.body.get("bits", 256)
        if bits not in (128, 256, 512):
            raise Refusal(400, "invalid bit length")
        self._key(name)
        plain = _encoded(os.urandom(bits // 8))
        sealed = self._encrypt(name, {"plaintext": plain})
        return answer({**sealed, "plaintext": plain} if kind == "plaintext" else sealed)


def _plain(text: Any, absent: str, undecodable: str) -> bytes:
    if text is None:
        raise Refusal(400, absent)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, undecodable) from None


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Pki(Engine):
    def __init__(self) -> None:
        self.roles: dict[str, dict[str, Any]] = {}
        self.root: Any = None

    def handle(self, call: Call) -> Reply:
        head, _slash, rest = call.path.partition("/")
        if call.operation == "update" and call.path == "root/generate/internal":
            return self._generate(call)
        if head == "roles":
            if call.operation == "update":
                self.roles[rest] = call.body
                return nothing()
            if rest in self.roles:
                return answer(self.roles[rest])
            raise missing()
        if head == "issue" and call.operation == "update":
            return self._issue(call, rest)
        raise unsupported()

    def _generate(self, call: Call) -> Reply:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, call.body["common_name"])])
        self.root = _certificate(name, name, key, key, call.now, 10 * 365 * 86400, authority=True), key
        pem = _pem(self.root[0])
        return answer({"certificate": pem, "issuing_ca": pem, "serial_number": _serial(self.root[0])})

    def _issue(self, call: Call, role_name: str) -> Reply:
        role = self.roles.get(role_name)
        if role is None:
            raise Refusal(400, f"unknown role: {role_name}")
        if not call.body.get("common_name"):
            raise Refusal(400, "the common_name field is required, or must be provided in a CSR")
        if self.root is None:
            raise Refusal(500, "backend must be configured with a CA certificate/key")
        ttl = min(seconds(call.body.get("ttl") or role.get("ttl") or 86400), seconds(role.get("max_ttl") or 32 * 86400))
        authority, authority_key = self.root
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, call.body["common_name"])])
        certificate = _certificate(name, authority.subject, key, authority_key, call.now, ttl)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        data = {
            "certificate": _pem(certificate),
            "issuing_ca": _pem(authority),
            "ca_chain": [_pem(authority)],
            "private_key": private.decode().strip(),
            "private_key_type": "ec",
            "serial_number": _serial(certificate),
            "expiration": int(certificate.not_valid_after_utc.timestamp()),
        }
        if not role.get("generate_lease") or call.token is None:
            return answer(data)
        lease = call.store.lend(
            f"{call.mount}issue/{role_name}", call.token, ttl - 1, max_ttl=ttl, renewable=False, revoke=None
        )
        return answer(data, lease_id=lease.id, lease_duration=lease.ttl)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Any, signer: Any, now: float, ttl: int, *, authority: bool = False
) -> x509.Certificate:
    begin = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - datetime.timedelta(seconds=30))
        .not_valid_after(begin + datetime.timedelta(seconds=ttl))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode().strip()


def _serial(certificate: x509.Certificate) -> str:
    text = f"{certificate.serial_number:040x}"
    return ":".join(text[index : index + 2] for index in range(0, len(text), 2))


class Database(Engine):
    """Hands out accounts with a lease. ``accounts`` are those that exist: the database itself is not there."""

    def __init__(self) -> None:
        self.roles: dict[str, dict[str, Any]] = {}
        self.accounts: dict[str, str] = {}

    def handle(self, call: Call) -> Reply:
        head, _slash, name = call.path.partition("/")
        if head in ("roles", "config") and call.operation == "update":
            self.roles[name] = call.body
            return nothing()
        if head == "roles" and call.operation == "read" and name in self.roles:
            return answer(self.roles[name])
        if head != "creds" or call.operation != "read":
            raise unsupported()
        role = self.roles.get(name)
        if role is None or call.token is None:
            raise Refusal(400, f'unknown role: "{name}"')
        ttl = seconds(role.get("default_ttl", 3600))
        user, password = f"v-{name}-{random_id(12)}", random_id(20)
        self.accounts[user] = hashlib.sha256(password.encode()).hexdigest()
        lease = call.store.lend(
            f"{call.mount}creds/{name}",
            call.token,
            ttl,
            max_ttl=seconds(role.get("max_ttl", 0)) or 32 * 86400,
            renewable=True,
            revoke=lambda: self.accounts.pop(user, None) and None,
        )
        data = {"username": user, "password": password}
        return answer(data, lease_id=lease.id, renewable=True, lease_duration=ttl)
