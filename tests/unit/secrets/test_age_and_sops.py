# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets from encrypted files. What SOPS writes is written here by the rules that its own source follows."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import QuickClock, leaks, secrets, shown

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.faults import SecretError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.model import Source
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.sources import opened

VALUE = "qzV7canaryOfAValue"
CHANGED = "2026-01-31T02:00:00Z"


class Key:
    def __init__(self, folder: Path, name: str = "identity") -> None:
        identity = pyrage.x25519.Identity.generate()
        self.recipient = identity.to_public()
        self.secret = str(identity)
        self.file = folder / name
        self.file.write_text(f"# made by a test\n{identity}\n")
        self.file.chmod(0o600)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path)


def age(folder: Path, key: Key, content: str) -> Source:
    (folder / "secrets.age").write_bytes(pyrage.encrypt(content.encode(), [key.recipient]))
    return reader("age", folder / "secrets.age", key)


def reader(kind: str, file: Path, key: Key) -> Source:
    return opened({"kind": kind, "file": str(file), "identity_files": [str(key.file)]}, QuickClock())


def refused(source: Source, *entries: Any) -> SecretError:
    with pytest.raises(SecretError) as caught:
        source.read(secrets(*(entries or ("a",))))
    assert leaks(shown(caught.value), [VALUE]) == []
    return caught.value


def test_age(tmp_path: Path, key: Key) -> None:
    source = age(tmp_path, key, f"fleet/db:\n  user: fleet\n  password: {VALUE}\nfleet:\n  key: {{value: 'two'}}\n")
    found = source.read(secrets("fleet/db:user", "fleet/db:password", "fleet/key"))
    assert [found[name].value.text() for name in sorted(found)] == ["fleet", VALUE, "two"]
    version = hashlib.sha256((tmp_path / "secrets.age").read_bytes()).hexdigest()[:12]
    assert {secret.version for secret in found.values()} == {version}
    assert source.versions(secrets("fleet/db", "fleet/key")) == {"a0": version, "a1": version}
    source.close()


def test_age_by_the_program_of_its_authors(tmp_path: Path, key: Key) -> None:
    if shutil.which("age") is None:
        pytest.skip("the program age is not installed")
    ended = subprocess.run(
        ["age", "-a", "-r", str(key.recipient), "-o", str(tmp_path / "secrets.age")],
        input=f"a: {{value: {VALUE}}}\n".encode(),
        check=False,
        capture_output=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert reader("age", tmp_path / "secrets.age", key).read(secrets("a"))["a0"].value.text() == VALUE


@pytest.mark.parametrize(
    "content", [f"a: {{value: {VALUE}", f"- {VALUE}", f"{VALUE}", "", f"a: *{VALUE}", f"a: !!python/object:{VALUE} x"]
)
def test_age_with_something_else_inside(tmp_path: Path, key: Key, content: str) -> None:
    assert refused(age(tmp_path, key, content)).code == "unreadable"


def test_age_with_binary_values(tmp_path: Path, key: Key) -> None:
    content = base64.b64encode(bytes(range(256))).decode()
    source = age(tmp_path, key, f"a: {{value: !!binary {content}}}\n")
    assert source.read(secrets("a"))["a0"].value.reveal() == bytes(range(256))


def test_age_what_cannot_be_had(tmp_path: Path, key: Key) -> None:
    source = age(tmp_path, key, f"a: {{value: {VALUE}, number: 0123, nothing: }}\n")
    error = refused(source, "b", "a:none", "a:number", "a:nothing", {"path": "a", "version": 2})
    assert [failure.code for failure in error.failures.values()] == [
        "missing",
        "missing",
        "unreadable",
        "unreadable",
        "missing",
    ]


def test_age_for_somebody_else(tmp_path: Path, key: Key) -> None:
    stranger = Key(tmp_path, "stranger")
    age(tmp_path, key, f"a: {{value: {VALUE}}}")
    error = refused(reader("age", tmp_path / "secrets.age", stranger))
    assert error.code == "unreadable"
    assert leaks(shown(error), [stranger.secret, key.secret]) == []


def test_age_damaged_or_gone(tmp_path: Path, key: Key) -> None:
    source = age(tmp_path, key, f"a: {{value: {VALUE}}}")
    file = tmp_path / "secrets.age"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    assert refused(source).code == "unreadable"
    file.unlink()
    assert refused(source).code == "unreadable"


def test_age_with_an_identity_that_everybody_can_read(tmp_path: Path, key: Key) -> None:
    source = age(tmp_path, key, f"a: {{value: {VALUE}}}")
    key.file.chmod(0o644)
    error = refused(source)
    assert error.code == "unreadable"
    assert error.where == str(key.file)
    assert "chmod" in str(error)


def test_age_without_identity(tmp_path: Path, key: Key) -> None:
    age(tmp_path, key, f"a: {{value: {VALUE}}}")
    file = str(tmp_path / "secrets.age")
    assert refused(opened({"kind": "age", "file": file, "identity_files": []}, QuickClock())).code == "unreadable"
    with pytest.raises(ContinuityError):
        opened({"kind": "age", "file": file, "identity_files": [file]}, QuickClock()).read(secrets("a"))


class Sops:
    """Writes as SOPS does: values sealed under their path, the MAC over all of them, the key for age recipients."""

    def __init__(self, *recipients: Any, mac_only_encrypted: bool = False) -> None:
        self._key = os.urandom(32)
        self._recipients = recipients
        self._only = mac_only_encrypted
        self._digest = hashlib.sha512(hashlib.sha256(b"sops").digest() if mac_only_encrypted else b"")

    def encrypted(self, document: dict[str, Any]) -> dict[str, Any]:
        tree = {key: self._tree(value, (key,)) for key, value in document.items()}
        age = [
            {"recipient": str(recipient), "enc": pyrage.encrypt(self._key, [recipient], armored=True).decode()}
            for recipient in self._recipients
        ]
        settings: dict[str, Any] = {"age": age, "lastmodified": CHANGED, "version": "3.9.4", "pgp": None}
        settings["mac"] = self.seal(self._digest.hexdigest().upper().encode(), CHANGED)
        if self._only:
            settings["mac_only_encrypted"] = True
        return {**tree, "sops": {**settings, "unencrypted_suffix": "_unencrypted"}}

    def _tree(self, node: Any, path: tuple[str, ...]) -> Any:
        if isinstance(node, dict):
            return {key: self._tree(value, (*path, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [self._tree(value, path) for value in node]
        if node is None or node == "":
            return node
        kind = {bool: "bool", int: "int", float: "float"}.get(type(node), "str")
        # Go writes numbers without exponent, and without zeros at the end.
        content = {1e-7: "0.0000001", 5.0: "5"}.get(node if kind == "float" else None, str(node)).encode()
        open_ = any(part.endswith("_unencrypted") for part in path)
        if not (open_ and self._only):
            self._digest.update(content)
        return node if open_ else self.seal(content, "".join(f"{part}:" for part in path), kind)

    def seal(self, content: bytes, bound: str, kind: str = "str") -> str:
        iv = os.urandom(32)
        sealed = AESGCM(self._key).encrypt(iv, content, bound.encode())
        data, tag, nonce = (base64.b64encode(part).decode() for part in (sealed[:-16], sealed[-16:], iv))
        return f"ENC[AES256_GCM,data:{data},iv:{nonce},tag:{tag},type:{kind}]"


DOCUMENT = {
    "fleet": {
        "database": {"user": "fleet", "password": VALUE, "port": 5432, "ratio": 1.25, "on": True, "none": None},
        "hosts": ["one", "two"],
        "note_unencrypted": "for everybody",
        "number_unencrypted": 7,
        "small_unencrypted": 1e-7,
        "whole_unencrypted": 5.0,
        "on_unencrypted": True,
        "empty": "",
    },
    "value": "on top",
}


def sops(folder: Path, key: Key, document: Any, name: str = "secrets.yml") -> Source:
    file = folder / name
    file.write_text(json.dumps(document) if name.endswith("json") else yaml.safe_dump(document, sort_keys=False))
    return reader("sops", file, key)


@pytest.mark.parametrize("name", ["secrets.yml", "secrets.json"])
@pytest.mark.parametrize("only_encrypted", [False, True])
def test_sops(tmp_path: Path, key: Key, name: str, only_encrypted: bool) -> None:
    written = Sops(key.recipient, mac_only_encrypted=only_encrypted).encrypted(DOCUMENT)
    source = sops(tmp_path, key, written, name)
    assert VALUE not in (tmp_path / name).read_text()
    found = source.read(secrets("fleet/database:user", "fleet/database:password", "fleet:note_unencrypted"))
    assert [found[key].value.text() for key in sorted(found)] == ["fleet", VALUE, "for everybody"]
    assert refused(source, "fleet/database:port").code == "unreadable"
    source.close()


def test_sops_reads_plain_words_as_sops_does(tmp_path: Path, key: Key) -> None:
    words = {"yes": "yes", "off": "off", "190:20:30": "190:20:30", "1e-7": 1e-7, "0x10": 16, "true": True, "null": None}
    document = {
        "a": {"value": VALUE},
        "b_unencrypted": {f"w{number}": word for number, word in enumerate(words.values())},
    }
    source = sops(tmp_path, key, Sops(key.recipient).encrypted(document))
    file = tmp_path / "secrets.yml"
    text = file.read_text()
    for number, word in enumerate(words):
        text = re.sub(rf"  w{number}: .*", f"  w{number}: {word}", text)
    assert "w0: yes\n" in text
    file.write_text(text)
    assert source.read(secrets("a"))["a0"].value.text() == VALUE


def test_sops_for_several(tmp_path: Path, key: Key) -> None:
    other = Key(tmp_path, "other")
    written = Sops(other.recipient, key.recipient).encrypted(DOCUMENT)
    assert sops(tmp_path, key, written).read(secrets("fleet/database:password"))["a0"].value.text() == VALUE


TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=12)
TREES = st.dictionaries(
    st.from_regex(r"[a-z]{1,6}", fullmatch=True).filter(lambda key: key != "sops"),
    st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), TEXTS, min_size=1, max_size=4),
    min_size=1,
    max_size=3,
)


@given(TREES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sops_any_document(tmp_path: Path, key: Key, document: dict[str, dict[str, str]]) -> None:
    source = sops(tmp_path, key, Sops(key.recipient).encrypted(document), "any.json")
    wanted = [(path, field) for path, fields in document.items() for field in fields]
    found = source.read(secrets(*({"path": path, "field": field} for path, field in wanted)))
    assert [found[f"a{number}"].value.text() for number in range(len(wanted))] == [
        document[path][field] for path, field in wanted
    ]


def swapped(document: dict[str, Any]) -> None:
    database = document["fleet"]["database"]
    database["user"], database["password"] = database["password"], database["user"]


def removed(document: dict[str, Any]) -> None:
    del document["fleet"]["database"]["user"]


def added(document: dict[str, Any]) -> None:
    document["fleet"]["more"] = "surprise"


def opened_up(document: dict[str, Any]) -> None:
    document["fleet"]["note_unencrypted"] = "for nobody"


def reordered(document: dict[str, Any]) -> None:
    document["fleet"]["hosts"].reverse()


def later(document: dict[str, Any]) -> None:
    document["sops"]["lastmodified"] = "2027-01-31T02:00:00Z"


def without_mac(document: dict[str, Any]) -> None:
    del document["sops"]["mac"]


@pytest.mark.parametrize("change", [swapped, removed, added, opened_up, reordered, later, without_mac])
def test_sops_tampered_with(tmp_path: Path, key: Key, change: Any) -> None:
    written = Sops(key.recipient).encrypted(DOCUMENT)
    change(written)
    assert refused(sops(tmp_path, key, written), "fleet/database:password").code == "unreadable"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"age": None, "pgp": [{"fp": "x"}]}, "pgp"),
        ({"age": [], "kms": [{"arn": "x"}], "pgp": [{"fp": "x"}]}, "pgp, kms"),
        ({"age": None}, "nobody"),
        ({"key_groups": [{"age": []}]}, "groups"),
        ({"shamir_threshold": 2}, "groups"),
    ],
)
def test_sops_that_is_not_for_us(tmp_path: Path, key: Key, settings: dict[str, Any], says: str) -> None:
    written = Sops(key.recipient).encrypted(DOCUMENT)
    written["sops"].update(settings)
    error = refused(sops(tmp_path, key, written), "fleet/database:password")
    assert error.code == "unreadable"
    assert says in str(error)


def test_sops_that_is_none(tmp_path: Path, key: Key) -> None:
    assert "not encrypted by SOPS" in str(refused(sops(tmp_path, key, {"a": {"value": VALUE}})))
    assert (
        refused(sops(tmp_path, Key(tmp_path, "stranger"), Sops(key.recipient).encrypted(DOCUMENT))).code == "unreadable"
    )
