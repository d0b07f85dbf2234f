# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server says of itself, and how it says no."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from place import ROOT, Answer, Place
from vault_server import faults
from vault_server.core import Node
from vault_server.server import VaultServer


@pytest.fixture
def node(vault: Place) -> Iterator[Node]:
    """The node of our server, to be sealed or demoted; it is as before afterwards."""
    ours = vault.own("a server that may be sealed or demoted")
    before = replace(ours.node)
    yield ours.node
    ours.node = before


def is_error(answer: Answer) -> bool:
    return answer.headers["Content-Type"] == "application/json" and isinstance(answer.body["errors"], list)


def test_h1_health_of_an_active_server(vault: Place) -> None:
    answer = vault.ask("GET", "sys/health", token=None)
    assert answer.status == 200
    wanted = {"initialized", "sealed", "standby", "replication_performance_mode", "replication_dr_mode"}
    assert wanted | {"server_time_utc", "version", "cluster_name", "cluster_id"} <= set(answer.body)
    assert (answer.body["initialized"], answer.body["sealed"], answer.body["standby"]) == (True, False, False)
    assert answer.headers["Content-Type"] == "application/json"
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("state", "status"), [({"initialized": False}, 501), ({"sealed": True}, 503), ({"role": "standby"}, 429)]
)
def test_h2_health_otherwise(vault: Place, node: Node, state: dict[str, object], status: int) -> None:
    for name, value in state.items():
        setattr(node, name, value)
    answer = vault.ask("GET", "sys/health", token=None)
    assert answer.status == status
    assert answer.body["initialized"] is (status != 501)
    assert ("cluster_id" in answer.body) is (status == 429)


def test_h3_codes_by_query(vault: Place) -> None:
    assert vault.ask("GET", "sys/health", token=None, activecode="299").status == 299
    assert vault.ask("GET", "sys/health", token=None, activecode="many").status == 400


def test_h3_codes_of_other_states(vault: Place, node: Node) -> None:
    node.role = "standby"
    assert vault.ask("GET", "sys/health", token=None, standbyok="true").status == 200
    node.sealed = True
    assert vault.ask("GET", "sys/health", token=None, sealedcode="299").status == 299


def test_h4_other_verbs(vault: Place) -> None:
    head = vault.ask("HEAD", "sys/health", token=None)
    assert (head.status, head.content) == (200, b"")
    assert vault.ask("DELETE", "sys/health", token=None).status == 405


@pytest.mark.parametrize(("role", "status"), [("dr", 472), ("performance", 473)])
def test_h5_secondaries(vault: Place, node: Node, role: str, status: int) -> None:
    node.role = role
    assert vault.ask("GET", "sys/health", token=None).status == status
    assert vault.ask("POST", "cubbyhole/here", {"a": "b"}).status == status


def test_h6_health_in_a_namespace(vault: Place) -> None:
    if not vault.namespaces():
        pytest.skip("this server has no namespaces")
    answer = vault.ask("GET", "sys/health", token=None, headers={"X-Vault-Namespace": "somewhere"})
    assert answer.status == 400
    assert "unavailable in namespaces" in answer.text or "not supported" in answer.text


def test_h7_seal_status(vault: Place) -> None:
    answer = vault.ask("GET", "sys/seal-status", token=None)
    assert answer.status == 200
    assert {"type", "t", "n", "progress", "sealed"} <= set(answer.body)
    assert answer.body["sealed"] is False


def test_h7_sealed_leader(vault: Place, node: Node) -> None:
    assert vault.ask("GET", "sys/leader", token=None).status == 200
    node.sealed = True
    assert vault.ask("GET", "sys/leader", token=None).status == 503
    assert vault.ask("GET", "sys/seal-status", token=None).body["sealed"] is True


def test_e1_sealed(vault: Place, node: Node) -> None:
    node.sealed = True
    answer = vault.ask("GET", "cubbyhole/x")
    assert (answer.status, answer.body) == (503, {"errors": ["Vault is sealed"]})


def test_e2_without_a_token(vault: Place) -> None:
    answer = vault.ask("GET", "auth/token/lookup-self", token=None)
    assert (answer.status, answer.text) in ((400, "missing client token"), (403, "permission denied"))
    assert is_error(answer)


def test_e3_tokens_that_count_no_longer(vault: Place) -> None:
    revoked = vault.token()
    vault.done("POST", "auth/token/revoke-self", token=revoked)
    expired = vault.token(ttl="1s")
    vault.pass_time(2)
    for token in ("nonsense", revoked, expired):
        answer = vault.ask("GET", "auth/token/lookup-self", token=token)
        assert answer.status == 403
        assert "permission denied" in answer.text


def test_e4_refused_by_policy(vault: Place) -> None:
    mount = vault.mount("kv")
    token = vault.reader(vault.name("elsewhere"))
    for path in (f"{mount}/x", f"{vault.name('nowhere')}/x"):
        answer = vault.ask("GET", path, token=token)
        assert (answer.status, answer.text) == (403, "1 error occurred:\n\t* permission denied\n\n")


def test_e5_no_mount(vault: Place) -> None:
    answer = vault.ask("GET", f"{vault.name('nowhere')}/x")
    assert answer.status == 404
    assert answer.text.startswith("no handler for route ")


def test_e6_bodies_that_are_none(vault: Place) -> None:
    mount = vault.mount("kv")
    broken = vault.ask("POST", f"{mount}/x", b'{"a": ')
    assert broken.status == 400
    assert is_error(broken)
    content = b'{"a": "' + b"x" * (33 * 1024 * 1024) + b'"}'
    try:
        large = vault.ask("POST", f"{mount}/x", content)
    except OSError:
        if vault.ours is not None:
            raise
        pytest.skip("this server closes the connection before its answer can be read")
    assert large.status == 413


def test_e7_wrong_verb(vault: Place) -> None:
    answer = vault.ask("GET", "auth/token/renew-self")
    assert answer.status == 405
    assert "unsupported operation" in answer.text


def test_e8_paths(vault: Place) -> None:
    mount = vault.mount("kv")
    # Some servers clean the path of a request first, and send the client there.
    assert vault.ask("GET", f"{mount}/a/../b").status in (400, 301, 307, 308)
    answer = vault.ask("POST", f"{mount}/a/", {"b": "c"})
    assert answer.status == 400
    assert "cannot write to a path ending in '/'" in answer.text


@pytest.mark.parametrize("headers", [False, True])
def test_e9_quota(vault: Place, headers: bool) -> None:
    mount, quota = vault.mount("kv"), vault.name("quota")
    vault.done("POST", f"{mount}/app/db", {"a": "b"})
    vault.done("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": headers})
    vault.later(lambda: vault.ask("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": False}))
    vault.done("POST", f"sys/quotas/rate-limit/{quota}", {"path": f"{mount}/", "rate": 1})
    vault.later(lambda: vault.ask("DELETE", f"sys/quotas/rate-limit/{quota}"))
    answers = [vault.ask("GET", f"{mount}/app/db") for _repeat in range(10)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert refused[0].text == f'request path "{mount}/app/db": rate limit quota exceeded'
    named = ("Retry-After", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset")
    assert [str(refused[0].headers[name]).isdigit() for name in named] == [headers] * 4


def test_e10_a_proxy_in_between(vault: Place) -> None:
    ours = vault.own("a proxy whose server is gone")
    ours.faults.add(faults.bad_gateway())
    answer = vault.ask("GET", "cubbyhole/x")
    assert (answer.status, answer.headers["Content-Type"]) == (502, "text/html")
    assert vault.root.encode() in answer.content


@pytest.fixture
def standby(vault: Place) -> Iterator[VaultServer]:
    ours = vault.own("a cluster")
    with VaultServer(core=ours.core) as other:
        other.node.role, other.node.leader = "standby", ours.address
        yield other


def test_s1_a_standby_forwards(vault: Place, standby: VaultServer) -> None:
    answer = vault.ask("GET", "auth/token/lookup-self", address=standby.address)
    assert answer.status == 200


def test_s2_a_standby_points_to_the_active_one(vault: Place, standby: VaultServer) -> None:
    answer = vault.ask("GET", "cubbyhole/x", address=standby.address, headers={"X-Vault-No-Request-Forwarding": "true"})
    assert (answer.status, answer.content, answer.headers["Content-Type"]) == (307, b"", None)
    assert answer.headers["Location"] == f"{vault.address}/v1/cubbyhole/x"


def test_s3_no_leader(vault: Place, standby: VaultServer) -> None:
    standby.node.leader = None
    answer = vault.ask("GET", "cubbyhole/x", address=standby.address)
    assert answer.status in (500, 503)
    assert "no active Vault instance found" in answer.text


def test_n1_namespaces(vault: Place) -> None:
    if not vault.namespaces():
        here = vault.ask("GET", "auth/token/lookup-self", headers={"X-Vault-Namespace": "nowhere"})
        assert here.status in (200, 400, 404)
        return
    namespace = vault.name("ns")
    answer = vault.ask("GET", "auth/token/lookup-self", headers={"X-Vault-Namespace": namespace})
    assert answer.status in (403, 404)
    vault.done("POST", f"sys/namespaces/{namespace}", {})
    vault.later(lambda: vault.ask("DELETE", f"sys/namespaces/{namespace}"))
    inside = {"X-Vault-Namespace": namespace}
    vault.done("POST", "sys/mounts/kv", {"type": "kv"}, headers=inside)
    vault.done("POST", "kv/x", {"a": "b"}, headers=inside)
    read = vault.ask("GET", "kv/x", headers=inside)
    assert read.data == {"a": "b"}
    assert read.headers["X-Vault-Namespace"].strip("/") == namespace
    vault.done("DELETE", "sys/mounts/kv", headers=inside)


def test_n2_what_only_the_root_namespace_has(vault: Place) -> None:
    if not vault.namespaces():
        pytest.skip("this server has no namespaces")
    namespace = vault.name("ns")
    vault.done("POST", f"sys/namespaces/{namespace}", {})
    vault.later(lambda: vault.ask("DELETE", f"sys/namespaces/{namespace}"))
    answer = vault.ask("GET", "sys/audit", headers={"X-Vault-Namespace": namespace}, token=ROOT)
    assert answer.status == 400
    assert "only available in root namespace" in answer.text or "unsupported" in answer.text
