# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that are handed over once, and what is lent for a time."""

from __future__ import annotations

from typing import Any

import pytest
from place import Place

INVALID = "wrapping token is not valid or does not exist"


def wrapped(vault: Place) -> dict[str, Any]:
    """wrap_info of a secret of a KV engine."""
    mount = vault.mount("kv")
    vault.done("POST", f"{mount}/x", {"word": "value"})
    answer = vault.done("GET", f"{mount}/x", headers={"X-Vault-Wrap-TTL": "60"})
    assert (answer.body["request_id"], answer.data) == ("", None)
    assert answer.body["wrap_info"]["creation_path"] == f"{mount}/x"
    return dict(answer.body["wrap_info"])


def test_w1_wrapped_answers(vault: Place) -> None:
    info = wrapped(vault)
    assert {"token", "accessor", "ttl", "creation_time", "creation_path"} <= set(info)
    assert info["ttl"] == 60
    mount = vault.login_method("approle")
    vault.done("POST", f"auth/{mount}/role/app", {})
    path = f"auth/{mount}/role/app/secret-id"
    secret_id = vault.done("POST", path, {}, headers={"X-Vault-Wrap-TTL": "60"})
    assert secret_id.body["wrap_info"]["creation_path"] == path
    refused = vault.ask("GET", f"{mount}/none", headers={"X-Vault-Wrap-TTL": "60"})
    assert refused.status == 404
    assert "wrap_info" not in refused.body


def test_w2_lookup(vault: Place) -> None:
    info = wrapped(vault)
    answer = vault.ask("POST", "sys/wrapping/lookup", {"token": info["token"]}, token=None)
    assert answer.status == 200
    assert answer.data["creation_path"] == info["creation_path"]
    assert answer.data["creation_ttl"] == 60
    assert answer.data["creation_time"]
    unknown = vault.ask("POST", "sys/wrapping/lookup", {"token": "nonsense"}, token=None)
    assert unknown.status in (400, 403)


def test_w3_unwrapped_once(vault: Place) -> None:
    token = wrapped(vault)["token"]
    first = vault.ask("POST", "sys/wrapping/unwrap", {}, token=token)
    assert (first.status, first.data) == (200, {"word": "value"})
    second = vault.ask("POST", "sys/wrapping/unwrap", {}, token=token)
    assert second.status == 400
    assert INVALID in second.text


def test_w4_unwrap_without_a_token_of_ones_own(vault: Place) -> None:
    token = wrapped(vault)["token"]
    answer = vault.ask("POST", "sys/wrapping/unwrap", {"token": token}, token=None)
    assert answer.status in (400, 403)
    assert vault.ask("POST", "sys/wrapping/unwrap", {"token": token}).data == {"word": "value"}


def test_w5_times_that_are_none(vault: Place) -> None:
    mount = vault.mount("kv")
    vault.done("POST", f"{mount}/x", {"word": "value"})
    for ttl in ("soon", "-5"):
        answer = vault.ask("GET", f"{mount}/x", headers={"X-Vault-Wrap-TTL": ttl})
        assert answer.status == 400
        assert answer.text.startswith("error parsing X-Vault-Wrap-TTL header: ")


@pytest.fixture
def certificates(vault: Place) -> str:
    """A PKI whose certificates have leases."""
    mount = vault.mount("pki")
    vault.done("POST", f"{mount}/root/generate/internal", {"common_name": "tests", "ttl": "24h"})
    role = {"allow_any_name": True, "generate_lease": True, "max_ttl": "1h"}
    vault.done("POST", f"{mount}/roles/agent", role)
    return mount


def issue(vault: Place, mount: str) -> Any:
    return vault.done("POST", f"{mount}/issue/agent", {"common_name": "agent.example", "ttl": "10m"})


@pytest.fixture
def accounts(vault: Place) -> str:
    """A database engine with a role whose leases live 100 s, and 300 s at most."""
    vault.own("a database that it reaches")
    mount = vault.mount("database")
    vault.done("POST", f"{mount}/roles/agent", {"default_ttl": "100s", "max_ttl": "300s"})
    return mount


def test_l1_look_up_and_revoke(vault: Place, certificates: str) -> None:
    lease = issue(vault, certificates).body["lease_id"]
    found = vault.ask("PUT", "sys/leases/lookup", {"lease_id": lease})
    assert found.status == 200
    assert found.data["id"] == lease
    assert {"issue_time", "expire_time", "ttl", "renewable"} <= set(found.data)
    assert vault.ask("PUT", "sys/leases/revoke", {"lease_id": lease}).status == 204
    later = issue(vault, certificates).body["lease_id"]
    assert vault.ask("PUT", "sys/leases/revoke", {"lease_id": later, "sync": False}).status in (202, 204)


def test_l1_renew(vault: Place, accounts: str) -> None:
    lent = vault.done("GET", f"{accounts}/creds/agent")
    assert (lent.body["renewable"], lent.body["lease_duration"]) == (True, 100)
    assert {"username", "password"} <= set(lent.data)
    renewed = vault.ask("PUT", "sys/leases/renew", {"lease_id": lent.body["lease_id"], "increment": 200})
    assert (renewed.status, renewed.body["lease_duration"]) == (200, 200)


def test_l2_leases_that_are_none(vault: Place, certificates: str) -> None:
    def text(action: str, lease: str) -> str:
        answer = vault.ask("PUT", f"sys/leases/{action}", {"lease_id": lease})
        assert answer.status == 400
        return answer.text

    lease = issue(vault, certificates).body["lease_id"]
    assert "lease is not renewable" in text("renew", lease)
    vault.done("PUT", "sys/leases/revoke", {"lease_id": lease})
    assert "invalid lease" in text("lookup", lease)
    assert "lease not found" in text("renew", lease)
    assert "lease_id must be specified" in text("renew", "")
    assert vault.ask("PUT", "sys/leases/revoke", {"lease_id": lease}).status == 204


def test_l3_renewed_for_less(vault: Place, accounts: str) -> None:
    lease = vault.done("GET", f"{accounts}/creds/agent").body["lease_id"]
    renewed = vault.ask("PUT", "sys/leases/renew", {"lease_id": lease, "increment": 5000})
    assert renewed.status == 200
    assert 290 <= renewed.body["lease_duration"] <= 300
    assert renewed.body["warnings"]


def test_p1_certificates(vault: Place, certificates: str) -> None:
    answer = issue(vault, certificates)
    assert answer.body["lease_id"].startswith(f"{certificates}/issue/agent/")
    assert answer.body["renewable"] is False
    assert 590 <= answer.body["lease_duration"] < 600
    wanted = {"certificate", "issuing_ca", "private_key", "private_key_type", "serial_number", "expiration"}
    assert wanted <= set(answer.data)
