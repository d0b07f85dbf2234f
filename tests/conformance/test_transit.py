# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption as a service."""

from __future__ import annotations

import base64

import pytest
from place import Answer, Place

PLAIN = base64.b64encode(b"plain text").decode()


@pytest.fixture
def transit(vault: Place) -> str:
    mount = vault.mount("transit")
    vault.done("POST", f"{mount}/keys/old", {})
    return mount


def encrypt(vault: Place, mount: str, key: str = "old") -> str:
    return str(vault.done("POST", f"{mount}/encrypt/{key}", {"plaintext": PLAIN}).data["ciphertext"])


def test_x1_there_and_back(vault: Place, transit: str) -> None:
    answer = vault.done("POST", f"{transit}/encrypt/new", {"plaintext": PLAIN})
    assert answer.data["ciphertext"].startswith("vault:v1:")
    assert answer.data.get("key_version", 1) == 1
    back = vault.done("POST", f"{transit}/decrypt/new", {"ciphertext": answer.data["ciphertext"]})
    assert back.data["plaintext"] == PLAIN
    vault.done("POST", f"{transit}/keys/new/rotate")
    again = vault.done("POST", f"{transit}/rewrap/new", {"ciphertext": answer.data["ciphertext"]})
    assert again.data["ciphertext"].startswith("vault:v2:")
    digest = vault.done("POST", f"{transit}/hmac/new", {"input": PLAIN})
    assert digest.data["hmac"].startswith("vault:v2:")


def test_x2_what_cannot_be_done(vault: Place, transit: str) -> None:
    sealed = encrypt(vault, transit)
    for path, body, text in (
        ("encrypt/old", {}, "missing plaintext"),
        ("encrypt/old", {"plaintext": "?"}, "base64"),
        ("decrypt/old", {"ciphertext": PLAIN}, "invalid ciphertext: no prefix"),
        ("decrypt/old", {"ciphertext": sealed.replace(":v1:", ":v9:")}, "version is too new"),
        ("decrypt/absent", {"ciphertext": sealed}, "encryption key not found"),
    ):
        answer = vault.ask("POST", f"{transit}/{path}", body)
        assert answer.status == 400
        assert text in answer.text


def test_x3_tampered(vault: Place, transit: str) -> None:
    sealed = bytearray(base64.b64decode(encrypt(vault, transit)[len("vault:v1:") :]))
    sealed[-1] ^= 1
    changed = "vault:v1:" + base64.b64encode(sealed).decode()
    answer = vault.ask("POST", f"{transit}/decrypt/old", {"ciphertext": changed})
    assert answer.status in (400, 500)
    assert "authentication failed" in answer.text or "unable to decrypt" in answer.text


def test_x4_batches(vault: Place, transit: str) -> None:
    items = [{"ciphertext": encrypt(vault, transit)}, {"ciphertext": "nonsense"}]
    answer: Answer = vault.ask("POST", f"{transit}/decrypt/old", {"batch_input": items})
    assert answer.status in (200, 400)
    results = answer.data["batch_results"]
    assert results[0]["plaintext"] == PLAIN
    assert results[1]["error"]


def test_x5_data_keys(vault: Place, transit: str) -> None:
    plain = vault.done("POST", f"{transit}/datakey/plaintext/old", {"bits": 512}).data
    assert len(base64.b64decode(plain["plaintext"])) == 64
    assert plain["ciphertext"].startswith("vault:v1:")
    assert "plaintext" not in vault.done("POST", f"{transit}/datakey/wrapped/old", {}).data
    assert vault.ask("POST", f"{transit}/datakey/other/old", {}).status == 400
