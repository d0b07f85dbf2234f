# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every exchange of the list has a test that carries its name."""

from __future__ import annotations

import re
from pathlib import Path

from place import Place
from vault_server.profiles import CURRENT, OLDER

COUNTS = {"h": 7, "e": 10, "s": 3, "t": 4, "a": 7, "k": 15, "n": 2, "w": 5, "l": 3, "x": 5, "p": 1, "tls": 1}
"""Health, errors, standby, tokens, auth methods, key values, namespaces, wrapping, leases, transit, PKI, TLS."""


def test_every_exchange_has_a_test() -> None:
    found = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        found |= set(re.findall(r"^def test_([a-z]+\d+)_", file.read_text(), re.MULTILINE))
    wanted = {f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)}
    assert wanted - found == set()


def test_each_generation_speaks_its_own_words(vault: Place) -> None:
    """The suite takes both wordings: ours must not mix them."""
    profile = vault.own("the knowledge of which generation it is").core.profile
    older = profile is OLDER
    assert older or profile is CURRENT
    kv2, transit, role = vault.mount("kv", {"version": "2"}), vault.mount("transit"), vault.login_method("approle")
    vault.done("POST", f"{kv2}/data/x", {"data": {"a": "b"}})
    vault.done("POST", f"{transit}/keys/k", {})
    batch = {"batch_input": [{"ciphertext": "nonsense"}]}
    said = {
        "E2": vault.ask("GET", f"{kv2}/data/x", token=None),
        "E5": vault.ask("GET", "nowhere/x"),
        "A2": vault.ask("POST", f"auth/{role}/login", {"role_id": "x", "secret_id": "y"}, token=None),
        "K2": vault.ask("GET", f"{kv2}/data/x", version="abc"),
        "K11": vault.ask("PATCH", f"{kv2}/data/x", {"data": {}}),
        "N1": vault.ask("GET", f"{kv2}/data/x", headers={"X-Vault-Namespace": "nowhere"}),
        "X4": vault.ask("POST", f"{transit}/decrypt/k", batch),
    }
    statuses = {"E2": 400, "E5": 404, "A2": 400, "K2": 500, "K11": 405, "N1": 200, "X4": 200}
    if not older:
        statuses |= {"E2": 403, "K2": 400, "K11": 415, "N1": 404, "X4": 400}
    assert {name: answer.status for name, answer in said.items()} == statuses
    texts = ("missing client token", "no handler for route 'nowhere/x'", "invalid role ID")
    if not older:
        routed = 'no handler for route "nowhere/x". route entry not found.'
        texts = ("permission denied", routed, "invalid role or secret ID")
    assert tuple(said[name].text for name in ("E2", "E5", "A2")) == texts
    health = vault.ask("GET", "sys/health", token=None).body
    assert ("performance_standby" in health) is older
    assert ("custom_metadata" in vault.ask("GET", f"{kv2}/data/x").data["metadata"]) is not older
