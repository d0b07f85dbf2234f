# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens, and the ways to get one."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from place import Answer, Place
from tokens_of_others import Signer, cluster
from vault_server.certificates import Authority
from vault_server.logins import AppRole
from vault_server.server import Tls, VaultServer

ENVELOPE = {"client_token", "accessor", "policies", "token_policies", "metadata", "lease_duration", "renewable"}
ENVELOPE |= {"entity_id", "token_type", "orphan"}


def is_login(vault: Place, answer: Answer) -> None:
    """Whether it is the envelope of a login, and its token works."""
    assert answer.status == 200, answer.text
    assert answer.data is None
    assert set(answer.body["auth"]) >= ENVELOPE
    token = answer.body["auth"]["client_token"]
    assert vault.ask("GET", "auth/token/lookup-self", token=token).status == 200
    assert vault.ask("POST", "auth/token/revoke-self", token=token).status == 204


def test_t1_lookup_self(vault: Place) -> None:
    token = vault.token()
    answer = vault.ask("GET", "auth/token/lookup-self", token=token)
    wanted = {"accessor", "creation_time", "creation_ttl", "display_name", "entity_id", "expire_time", "id", "meta"}
    wanted |= {"explicit_max_ttl", "num_uses", "orphan", "path", "policies", "ttl", "type", "issue_time", "renewable"}
    assert wanted <= set(answer.data)
    assert answer.data["id"] == token
    assert answer.data["creation_ttl"] == 600
    vault.done("POST", "auth/token/renew-self", {}, token=token)
    assert "last_renewal" in vault.ask("GET", "auth/token/lookup-self", token=token).data


def test_t2_bearer(vault: Place) -> None:
    bearer = {"Authorization": f"Bearer {vault.root}"}
    answer = vault.ask("GET", "auth/token/lookup-self", token=None, headers=bearer)
    assert answer.status == 200


def test_t3_uses_that_are_counted(vault: Place) -> None:
    token = vault.token(num_uses=2)
    left = [vault.ask("GET", "auth/token/lookup-self", token=token) for _use in range(3)]
    assert [answer.data["num_uses"] for answer in left[:2]] == [1, -1]
    assert left[2].status == 403


def test_t4_renew_and_revoke(vault: Place) -> None:
    token = vault.token(ttl="20m")
    renewed = vault.ask("POST", "auth/token/renew-self", {"increment": "600s"}, token=token)
    assert (renewed.status, renewed.body["auth"]["lease_duration"]) == (200, 600)
    assert vault.ask("POST", "auth/token/revoke-self", token=token).status == 204
    assert vault.ask("GET", "auth/token/lookup-self", token=token).status == 403


class Role:
    """An AppRole of a mount of its own."""

    def __init__(self, vault: Place, **fields: Any) -> None:
        self.vault = vault
        self.mount = vault.login_method("approle")
        self.kv = vault.mount("kv")
        vault.done("POST", f"{self.kv}/x", {"word": "value"})
        policy = vault.policy(f'path "{self.kv}/*" {{ capabilities = ["read"] }}')
        vault.done("POST", f"auth/{self.mount}/role/app", {"token_policies": policy, "token_ttl": "10m", **fields})
        self.role_id = vault.done("GET", f"auth/{self.mount}/role/app/role-id").data["role_id"]

    def secret_id(self) -> str:
        return str(self.vault.done("POST", f"auth/{self.mount}/role/app/secret-id", {}).data["secret_id"])

    def login(self, **body: str) -> Answer:
        return self.vault.ask("POST", f"auth/{self.mount}/login", body, token=None)


def test_a1_approle(vault: Place) -> None:
    role = Role(vault)
    answer = role.login(role_id=role.role_id, secret_id=role.secret_id())
    assert answer.body["auth"]["metadata"]["role_name"] == "app"
    assert answer.body["auth"]["lease_duration"] == 600
    is_login(vault, answer)


def test_a2_wrong_credentials(vault: Place) -> None:
    role = Role(vault, secret_id_num_uses=1)
    once = role.secret_id()
    assert role.login(role_id=role.role_id, secret_id=once).status == 200
    for body, text in (
        ({"role_id": "wrong", "secret_id": once}, "invalid role ID"),
        ({"role_id": role.role_id, "secret_id": "wrong"}, "invalid secret id"),
        ({"role_id": role.role_id, "secret_id": once}, "invalid secret id"),
    ):
        answer = role.login(**body)
        assert answer.status == 400
        assert answer.text in (text, "invalid role or secret ID")


def test_a3_fields_that_are_missing(vault: Place) -> None:
    role = Role(vault)
    without_role, without_secret = role.login(secret_id="x"), role.login(role_id=role.role_id)
    assert (without_role.status, without_role.text) == (400, "missing role_id")
    assert (without_secret.status, without_secret.text) == (400, "missing secret_id")


def test_a4_a_secret_id_that_vanishes(vault: Place) -> None:
    ours = vault.own("another client that removes the secret_id at the right moment")
    role = Role(vault)
    engine = ours.core.namespaces[""].auths[f"{role.mount}/"].engine
    assert isinstance(engine, AppRole)
    engine.vanishing = True
    secret_id = role.secret_id()
    answer = role.login(role_id=role.role_id, secret_id=secret_id)
    assert (answer.status, answer.text) == (400, f'invalid secret_id "{secret_id}"')


def test_a5_no_such_method(vault: Place) -> None:
    nowhere = vault.name("nowhere")
    assert vault.ask("POST", f"auth/{nowhere}/login", {}, token=None).status in (400, 403, 404)
    answer = vault.ask("POST", f"auth/{nowhere}/login", {})
    assert answer.status == 404
    assert answer.text.startswith("no handler for route ")


def test_a6_jwt(vault: Place) -> None:
    mount, signer, stranger = vault.login_method("jwt"), Signer(), Signer()
    vault.done("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [signer.public]})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": ["default"]}
    vault.done("POST", f"auth/{mount}/role/agent", role)

    def login(jwt: str) -> Answer:
        return vault.ask("POST", f"auth/{mount}/login", {"role": "agent", "jwt": jwt}, token=None)

    is_login(vault, login(signer.sign(sub="me", aud="vault")))
    for wrong in (stranger.sign(sub="me", aud="vault"), signer.sign(sub="me", aud="other"), "no.jwt", "nonsense"):
        assert login(wrong).status == 400


def test_a6_kubernetes(vault: Place) -> None:
    if urlsplit(vault.address).hostname not in ("127.0.0.1", "localhost", "::1"):
        pytest.skip("this server does not reach the cluster of this test")
    mount, signer = vault.login_method("kubernetes"), Signer()
    user = "system:serviceaccount:fleet:agent"
    place = {"namespace": "fleet", "serviceaccount": {"name": "agent", "uid": "1-2-3"}}
    jwt = signer.sign(sub=user, aud=["https://kubernetes.default.svc"], **{"kubernetes.io": place})
    with cluster(jwt, user) as address:
        settings = {"kubernetes_host": address, "token_reviewer_jwt": jwt, "disable_iss_validation": True}
        vault.done("POST", f"auth/{mount}/config", {**settings, "disable_local_ca_jwt": True})
        bound = {"bound_service_account_names": "agent", "bound_service_account_namespaces": "fleet"}
        vault.done("POST", f"auth/{mount}/role/agent", {**bound, "token_policies": "default"})
        answer = vault.ask("POST", f"auth/{mount}/login", {"role": "agent", "jwt": jwt}, token=None)
        is_login(vault, answer)
        other = signer.sign(sub=user, **{"kubernetes.io": place})
        refused = vault.ask("POST", f"auth/{mount}/login", {"role": "agent", "jwt": other}, token=None)
        assert refused.status in (400, 403)


def test_a6_userpass(vault: Place) -> None:
    mount = vault.login_method("userpass")
    vault.done("POST", f"auth/{mount}/users/ana", {"password": "right", "token_policies": "default"})
    is_login(vault, vault.ask("POST", f"auth/{mount}/login/ana", {"password": "right"}, token=None))
    for user, word in (("ana", "wrong"), ("eve", "right")):
        answer = vault.ask("POST", f"auth/{mount}/login/{user}", {"password": word}, token=None)
        assert (answer.status, answer.text) == (400, "invalid username or password")


def test_a6_certificate(vault: Place, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("agent")
    stranger = tuple(map(str, Authority(tmp_path, "other").issue("stranger")))
    if vault.ours is None:
        if not vault.address.startswith("https:"):
            pytest.skip("this server has no TLS")
        certificate_logs_in(vault, authority, (str(certificate), str(key)))
        return
    tls = Tls(*authority.issue("server"), authorities=(Path(stranger[0]),))
    with VaultServer(vault.ours.core.profile, tls=tls) as ours:
        place = Place(ours.address, ours.root_token, ours, str(authority.file))
        certificate_logs_in(place, authority, (str(certificate), str(key)))


def certificate_logs_in(vault: Place, authority: Authority, client: tuple[str, str]) -> None:
    mount = vault.login_method("cert")
    trusted = {"certificate": authority.file.read_text(), "token_policies": "default"}
    vault.done("POST", f"auth/{mount}/certs/agent", trusted)
    is_login(vault, vault.ask("POST", f"auth/{mount}/login", {"name": "agent"}, token=None, client=client))
    assert vault.ask("POST", f"auth/{mount}/login", {}, token=None).status == 400
    vault.clean()


def test_a6_ldap(vault: Place) -> None:
    vault.own("a directory")
    mount = vault.login_method("ldap")
    vault.done("POST", f"auth/{mount}/users/ana", {"password": "right", "token_policies": "default"})
    is_login(vault, vault.ask("POST", f"auth/{mount}/login/ana", {"password": "right"}, token=None))
    assert vault.ask("POST", f"auth/{mount}/login/ana", {"password": "wrong"}, token=None).status == 400


def test_a7_login_inside_a_request(vault: Place) -> None:
    role = Role(vault)

    def headers(secret_id: str) -> dict[str, str]:
        pairs = {"role_id": role.role_id, "secret_id": secret_id}
        parameters = {
            f"X-Vault-Inline-Auth-Parameter-{name}": base64.urlsafe_b64encode(
                json.dumps({"key": name, "value": value}).encode()
            )
            .rstrip(b"=")
            .decode()
            for name, value in pairs.items()
        }
        return {"X-Vault-Inline-Auth-Path": f"auth/{role.mount}/login", **parameters}

    answer = vault.ask("GET", f"{role.kv}/x", token=None, headers=headers(role.secret_id()))
    if answer.status != 200:
        if vault.ours is not None:
            assert not vault.ours.core.profile.inline_auth
        assert answer.status in (400, 403)
        pytest.skip("this server knows no login inside a request")
    assert answer.data == {"word": "value"}
    refused = vault.ask("GET", f"{role.kv}/x", token=None, headers=headers("wrong"))
    assert refused.status in (400, 403)
    assert refused.headers["X-Vault-Inline-Auth-Failed"] is not None
