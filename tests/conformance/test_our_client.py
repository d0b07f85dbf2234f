# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine does with a server: the same reading against ours and a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from place import Place

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.faults import SecretError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.model import DeclaredSecret, declared
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.sources import opened
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.vault import VaultSource


class Host:
    """A host with an AppRole of its own, that may read two mounts and issue certificates."""

    def __init__(self, vault: Place, folder: Path) -> None:
        self.vault = vault
        self.folder = folder
        self.kv2, self.kv1 = vault.mount("kv", {"version": "2"}), vault.mount("kv", {"version": "1"})
        rules = [f"{self.kv2}/data/*", f"{self.kv2}/metadata/*", f"{self.kv1}/*"]
        policy = vault.policy("\n".join(f'path "{rule}" {{ capabilities = ["read"] }}' for rule in rules))
        self.mount = vault.login_method("approle")
        vault.done("POST", f"auth/{self.mount}/role/host", {"token_policies": policy, "token_ttl": "10m"})
        self.role_id = vault.done("GET", f"auth/{self.mount}/role/host/role-id").data["role_id"]

    def file(self, name: str, content: str) -> str:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(content)
        return str(path)

    def secret_id(self, **headers: str) -> Any:
        path = f"auth/{self.mount}/role/host/secret-id"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.vault.done("POST", path, {}, headers=named).body

    def source(self, **auth: str) -> VaultSource:
        made = opened(
            {
                "kind": "vault",
                "address": self.vault.address,
                "ca_file": self.vault.ca_file,
                "auth": {"method": "approle", "role_id_file": self.file("role_id", self.role_id), "mount": self.mount}
                | (auth or {"secret_id_file": self.file("secret_id", self.secret_id()["data"]["secret_id"])}),
            },
            SystemClock(),
        )
        assert isinstance(made, VaultSource)
        return made

    def secret(self, path: str, **fields: Any) -> list[DeclaredSecret]:
        return declared([{"name": "a", "path": path, **fields}])


@pytest.fixture
def host(vault: Place, tmp_path: Path) -> Host:
    return Host(vault, tmp_path)


def test_our_client_reads_both_versions(host: Host) -> None:
    for number in (1, 2):
        host.vault.done("POST", f"{host.kv2}/data/app", {"data": {"word": f"value {number}"}})
    host.vault.done("POST", f"{host.kv1}/app", {"word": "old"})
    reader = host.source()
    newest, first, old = declared(
        [
            {"name": "newest", "path": f"{host.kv2}/app", "field": "word"},
            {"name": "first", "path": f"{host.kv2}/app", "field": "word", "version": 1},
            {"name": "old", "path": f"{host.kv1}/app", "field": "word"},
        ]
    )
    found = reader.read([newest, first, old])
    assert {name: (read.value.text(), read.version) for name, read in found.items()} == {
        "newest": ("value 2", "2"),
        "first": ("value 1", "1"),
        "old": ("old", None),
    }
    assert reader.versions([newest, first, old]) == {"newest": "2", "first": "1", "old": None}
    reader.close()
    assert reader.warnings == []
    # One login, two mounts, three values, one look at metadata, one revocation.
    assert reader.requests == 8


@pytest.mark.parametrize("code", ["missing", "deleted", "destroyed", "denied"])
def test_our_client_tells_why_not(host: Host, code: str) -> None:
    host.vault.done("POST", f"{host.kv2}/data/app", {"data": {"value": "x"}})
    if code in ("deleted", "destroyed"):
        action = {"deleted": "delete", "destroyed": "destroy"}[code]
        host.vault.done("PUT", f"{host.kv2}/{action}/app", {"versions": [1]})
    path = {"missing": f"{host.kv2}/none", "denied": f"{host.vault.mount('kv')}/app"}.get(code, f"{host.kv2}/app")
    reader = host.source()
    with pytest.raises(SecretError) as caught:
        reader.read(host.secret(path))
    reader.close()
    assert caught.value.code == code


def test_our_client_logs_in_with_a_wrapped_secret_id_once(host: Host) -> None:
    host.vault.done("POST", f"{host.kv1}/app", {"value": "x"})
    wrapped = host.file("wrapped", host.secret_id(X_Vault_Wrap_TTL="60")["wrap_info"]["token"])
    reader = host.source(wrapped_secret_id_file=wrapped, role="host")
    assert reader.read(host.secret(f"{host.kv1}/app"))["a"].value.text() == "x"
    reader.close()
    again = host.source(wrapped_secret_id_file=wrapped, role="host")
    with pytest.raises(SecretError) as caught:
        again.read(host.secret(f"{host.kv1}/app"))
    again.close()
    assert caught.value.code == "intercepted"


def test_our_client_is_refused(host: Host) -> None:
    reader = host.source(secret_id_file=host.file("wrong", "wrong"))
    with pytest.raises(SecretError) as caught:
        reader.read(host.secret(f"{host.kv1}/app"))
    reader.close()
    assert caught.value.code == "login_refused"


def test_our_client_leaves_no_token(host: Host, tmp_path: Path) -> None:
    host.vault.done("POST", f"{host.kv1}/app", {"value": "x"})
    reader = host.source()
    reader.read(host.secret(f"{host.kv1}/app"))
    held = tmp_path / "held"
    reader.hold(str(held))
    later = host.source()
    assert later.resume(str(held)) == {}
    assert later.read(host.secret(f"{host.kv1}/app"))["a"].value.text() == "x"
    later.close()
    gone = host.source()
    gone.resume(str(held))
    assert gone.read(host.secret(f"{host.kv1}/app"))["a"].value.text() == "x"
    gone.close()
    # The first two share a token; it was revoked, so the third had to log in.
    assert (later.requests, gone.requests) == (4, 5)
