# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key-value engines of both versions."""

from __future__ import annotations

import pytest
from place import Place
from vault_server.kv import UPGRADING


@pytest.fixture
def kv2(vault: Place) -> str:
    return vault.mount("kv", {"version": "2"})


@pytest.fixture
def kv1(vault: Place) -> str:
    return vault.mount("kv", {"version": "1"})


def write(vault: Place, mount: str, path: str, count: int = 1) -> None:
    for number in range(1, count + 1):
        vault.done("POST", f"{mount}/data/{path}", {"data": {"word": f"value {number}"}})


def test_k1_read(vault: Place, kv2: str) -> None:
    write(vault, kv2, "app/db")
    answer = vault.ask("GET", f"{kv2}/data/app/db")
    assert answer.status == 200
    assert answer.data["data"] == {"word": "value 1"}
    metadata = answer.data["metadata"]
    assert {"created_time", "deletion_time", "destroyed", "version"} <= set(metadata)
    assert (metadata["deletion_time"], metadata["destroyed"], metadata["version"]) == ("", False, 1)
    assert metadata.get("custom_metadata") is None
    envelope = {"request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"}
    assert envelope <= set(answer.body)
    assert answer.body["lease_id"] == ""
    assert answer.body["auth"] is None
    assert answer.headers["Content-Type"] == "application/json"


def test_k2_versions(vault: Place, kv2: str) -> None:
    write(vault, kv2, "x", 3)
    for version, found in (("0", "value 3"), ("-1", "value 3"), ("2", "value 2")):
        answer = vault.ask("GET", f"{kv2}/data/x", version=version)
        if version == "-1" and answer.status != 200:
            assert answer.status in (400, 404)
            continue
        assert answer.data["data"] == {"word": found}
    absent = vault.ask("GET", f"{kv2}/data/x", version="99")
    assert (absent.status, absent.body["errors"]) == (404, [])
    assert vault.ask("GET", f"{kv2}/data/x", version="abc").status in (400, 500)


def test_k3_deleted(vault: Place, kv2: str) -> None:
    write(vault, kv2, "x")
    vault.done("DELETE", f"{kv2}/data/x")
    answer = vault.ask("GET", f"{kv2}/data/x")
    assert answer.status == 404
    assert "errors" not in answer.body
    assert answer.data["data"] is None
    assert answer.data["metadata"]["deletion_time"]
    assert answer.data["metadata"]["destroyed"] is False


def test_k4_destroyed(vault: Place, kv2: str) -> None:
    write(vault, kv2, "x")
    vault.done("PUT", f"{kv2}/destroy/x", {"versions": [1]})
    answer = vault.ask("GET", f"{kv2}/data/x")
    assert answer.status == 404
    assert answer.data["data"] is None
    assert answer.data["metadata"]["destroyed"] is True
    assert answer.data["metadata"]["deletion_time"] == ""


def test_k5_missing(vault: Place, kv2: str) -> None:
    for method, path in (("GET", "data/none"), ("GET", "metadata/none"), ("LIST", "metadata/none")):
        answer = vault.ask(method, f"{kv2}/{path}")
        assert (answer.status, answer.body["errors"]) == (404, []), (method, path)


def test_k6_deleted_later(vault: Place, kv2: str) -> None:
    vault.done("POST", f"{kv2}/metadata/x", {"delete_version_after": "2s"})
    write(vault, kv2, "x")
    answer = vault.ask("GET", f"{kv2}/data/x")
    assert answer.status == 200
    assert answer.data["metadata"]["deletion_time"]
    vault.pass_time(2.5)
    assert vault.ask("GET", f"{kv2}/data/x").status == 404


def test_k7_path_of_version_1(vault: Place, kv2: str) -> None:
    answer = vault.ask("GET", f"{kv2}/app/db")
    assert answer.status == 404
    assert answer.body["data"] is None
    assert answer.body["warnings"][0].startswith("Invalid path for a versioned K/V secrets engine")


def test_k8_write(vault: Place, kv2: str) -> None:
    def written(**body: object) -> tuple[int, str]:
        answer = vault.ask("POST", f"{kv2}/data/x", body)
        return (answer.status, answer.text if answer.status != 200 else str(answer.data["version"]))

    assert written(data={"a": "1"}) == (200, "1")
    assert written(data={"a": "2"}, options={"cas": 1}) == (200, "2")
    wrong = (400, "check-and-set parameter did not match the current version")
    assert written(data={"a": "3"}, options={"cas": 1}) == wrong
    assert written(options={}) == (400, "no data provided")
    vault.done("POST", f"{kv2}/config", {"cas_required": True})
    assert written(data={"a": "3"}) == (400, "check-and-set parameter required for this call")


def test_k9_delete_undelete_destroy(vault: Place, kv2: str) -> None:
    write(vault, kv2, "x", 2)
    for _twice in range(2):
        assert vault.ask("POST", f"{kv2}/delete/x", {"versions": [1]}).status == 204
    assert vault.ask("GET", f"{kv2}/data/x", version="1").status == 404
    for _twice in range(2):
        assert vault.ask("POST", f"{kv2}/undelete/x", {"versions": [1]}).status == 204
    assert vault.ask("GET", f"{kv2}/data/x", version="1").status == 200
    for _twice in range(2):
        assert vault.ask("PUT", f"{kv2}/destroy/x", {"versions": [1]}).status == 204
    for _twice in range(2):
        assert vault.ask("DELETE", f"{kv2}/data/x").status == 204
    vault.done("POST", f"{kv2}/undelete/x", {"versions": [1, 2]})
    assert vault.ask("GET", f"{kv2}/data/x", version="1").data["metadata"]["destroyed"] is True
    assert vault.ask("GET", f"{kv2}/data/x", version="2").status == 200


def test_k10_metadata_and_list(vault: Place, kv2: str) -> None:
    write(vault, kv2, "app/db", 2)
    write(vault, kv2, "top")
    metadata = vault.ask("GET", f"{kv2}/metadata/app/db").data
    wanted = {"current_version", "oldest_version", "max_versions", "cas_required", "delete_version_after"}
    assert wanted <= set(metadata)
    assert metadata["current_version"] == 2
    assert set(metadata["versions"]) == {"1", "2"}
    assert {"created_time", "deletion_time", "destroyed"} <= set(metadata["versions"]["1"])
    assert vault.ask("LIST", f"{kv2}/metadata/").data["keys"] == ["app/", "top"]
    assert vault.ask("GET", f"{kv2}/metadata/", list="true").data["keys"] == ["app/", "top"]


def test_k11_patch(vault: Place, kv2: str) -> None:
    write(vault, kv2, "x")
    changed = {"data": {"more": "yes"}}
    plain = vault.ask("PATCH", f"{kv2}/data/x", changed, headers={"Content-Type": "application/json"})
    assert plain.status in (405, 415)
    if plain.status == 415:
        kind = {"Content-Type": "application/merge-patch+json"}
        assert vault.ask("PATCH", f"{kv2}/data/x", changed, headers=kind).status == 200
        assert vault.ask("GET", f"{kv2}/data/x").data["data"] == {"word": "value 1", "more": "yes"}


def test_k12_not_ready_yet(vault: Place) -> None:
    if vault.ours is not None:
        core = vault.ours.core
        core.upgrading = 2
        vault.later(lambda: setattr(core, "upgrading", 0))
    mount = vault.name("kv")
    vault.done("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
    vault.later(lambda: vault.ask("DELETE", f"sys/mounts/{mount}"))
    first = vault.ask("POST", f"{mount}/data/x", {"data": {"a": "b"}})
    assert first.status == 200 or (first.status == 400 and UPGRADING[:50] in first.text)
    assert vault.ready(lambda: vault.ask("POST", f"{mount}/data/x", {"data": {"a": "b"}})).status == 200


def test_k13_version_1(vault: Place, kv1: str) -> None:
    vault.done("POST", f"{kv1}/x", {"word": "value", "ttl": "30m"})
    answer = vault.ask("GET", f"{kv1}/x")
    assert answer.status == 200
    assert answer.data == {"word": "value", "ttl": "30m"}
    assert (answer.body["lease_duration"], answer.body["renewable"]) == (1800, False)
    missing = vault.ask("GET", f"{kv1}/none")
    assert (missing.status, missing.body["errors"]) == (404, [])
    empty = vault.ask("POST", f"{kv1}/x", {})
    assert (empty.status, empty.text) == (400, "missing data fields")


def test_k14_which_version_a_mount_is(vault: Place, kv1: str, kv2: str) -> None:
    token = vault.token(
        vault.policy(f'path "{kv1}/*" {{ capabilities = ["read"] }} path "{kv2}/data/*" {{ capabilities = ["read"] }}')
    )
    for mount, version in ((kv1, "1"), (kv2, "2")):
        answer = vault.ask("GET", f"sys/internal/ui/mounts/{mount}/app/db", token=token)
        assert answer.status == 200
        assert (answer.data["path"], answer.data["type"]) == (f"{mount}/", "kv")
        assert (answer.data["options"] or {}).get("version", "1") == version
    for path in (f"{vault.name('nowhere')}/x", f"{vault.mount('kv')}/x"):
        refused = vault.ask("GET", f"sys/internal/ui/mounts/{path}", token=token)
        assert refused.status == 403
        assert refused.text.startswith("preflight capability check returned 403")


def test_k15_capabilities(vault: Place, kv1: str) -> None:
    token = vault.reader(kv1)
    answer = vault.ask("POST", "sys/capabilities-self", {"paths": [f"{kv1}/x", "sys/mounts"]}, token=token)
    assert answer.status == 200
    assert sorted(answer.body[f"{kv1}/x"]) == ["list", "read"]
    assert answer.data[f"{kv1}/x"] == answer.body[f"{kv1}/x"]
    assert answer.data["sys/mounts"] == ["deny"]
