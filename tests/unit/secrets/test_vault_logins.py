# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every auth method against the server, with credentials from files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reading import bed, secrets, source
from vault_server import faults
from vault_server.bed import Bed
from vault_server.certificates import Authority
from vault_server.server import Tls

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.auth.methods import METHODS, chosen
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.faults import SecretError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance"))
from tokens_of_others import Signer, cluster


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Bed]:
    with bed(tmp_path) as made:
        made.put("a", value="read")
        yield made


def reads(vault: Bed, auth: dict[str, Any], **options: Any) -> None:
    """Whether a login works, happens once, and its token is gone afterwards."""
    reader = source(vault, auth=auth, **options)
    assert reader.read(secrets("kv/a"))["a0"].value.text() == "read"
    reader.close()
    assert len(vault.server.asked("login")) == 1
    assert vault.tokens() == set()
    assert reader.warnings == []


def refused(vault: Bed, auth: dict[str, Any], **options: Any) -> SecretError:
    reader = source(vault, auth=auth, **options)
    with pytest.raises(SecretError) as caught:
        reader.read(secrets("kv/a"))
    reader.close()
    assert vault.server.asked("kv/data") == []
    return caught.value


def test_token_is_not_ours_to_revoke(vault: Bed) -> None:
    created = vault.server.administer("POST", "auth/token/create", {"policies": ["agent"], "ttl": "1h"})
    token = created["auth"]["client_token"]
    reader = source(vault, auth={"method": "token", "token_file": vault.file("token", f"{token}\n")})
    assert reader.read(secrets("kv/a"))["a0"].value.text() == "read"
    reader.close()
    assert vault.tokens() == {token}


def test_token_that_counts_no_longer(vault: Bed) -> None:
    error = refused(vault, {"method": "token", "token_file": vault.file("token", "hvs.nonsense")})
    assert error.code == "denied"


def test_approle(vault: Bed) -> None:
    reads(vault, vault.approle)


def test_approle_with_a_wrong_secret_id(vault: Bed) -> None:
    auth = {**vault.approle, "secret_id_file": vault.file("wrong", "4711")}
    assert refused(vault, auth).code == "login_refused"


def test_approle_without_secret_id(vault: Bed) -> None:
    vault.server.administer("POST", "auth/approle/role/agent", {"bind_secret_id": False})
    reads(vault, {"method": "approle", "role_id_file": vault.approle["role_id_file"]})


def test_approle_wrapped(vault: Bed) -> None:
    wrapped = vault.file("wrapped", vault.wrapped_secret_id())
    role_id = vault.approle["role_id_file"]
    auth = {"method": "approle", "role_id_file": role_id, "wrapped_secret_id_file": wrapped, "role": "agent"}
    reader = source(vault, auth=auth)
    reader.read(secrets("kv/a"))
    reader.close()
    assert [line.partition(" ")[2] for line in vault.server.asked()][:3] == [
        "sys/wrapping/lookup",
        "sys/wrapping/unwrap",
        "auth/approle/login",
    ]
    again = refused_wrapped(vault, auth)
    assert again.code == "intercepted"
    assert len(vault.server.asked("unwrap")) == 1


def refused_wrapped(vault: Bed, auth: dict[str, Any]) -> SecretError:
    reader = source(vault, auth=auth)
    with pytest.raises(SecretError) as caught:
        reader.read(secrets("kv/a"))
    reader.close()
    return caught.value


def test_approle_wrapped_for_another_role(vault: Bed) -> None:
    vault.server.administer("POST", "auth/approle/role/other", {})
    wrapped = vault.file("wrapped", vault.wrapped_secret_id("other"))
    auth = {"method": "approle", "role_id_file": vault.approle["role_id_file"], "wrapped_secret_id_file": wrapped}
    assert refused_wrapped(vault, {**auth, "role": "agent"}).code == "intercepted"
    assert vault.server.asked("unwrap") == []


def test_approle_wrapped_at_a_path_that_only_ends_like_it(vault: Bed) -> None:
    path = "old/auth/approle/role/agent/secret-id"
    vault.server.administer("POST", path, {"secret_id": vault.secret_id})
    info = vault.server.administer("GET", path, X_Vault_Wrap_TTL="60")["wrap_info"]
    wrapped = vault.file("wrapped", info["token"])
    auth = {"method": "approle", "role_id_file": vault.approle["role_id_file"], "wrapped_secret_id_file": wrapped}
    assert refused_wrapped(vault, auth).code == "intercepted"
    assert vault.server.asked("unwrap") == []


def test_unwrapping_is_not_tried_twice(vault: Bed) -> None:
    wrapped = vault.file("wrapped", vault.wrapped_secret_id())
    vault.server.faults.add(faults.reset("unwrap"))
    auth = {"method": "approle", "role_id_file": vault.approle["role_id_file"], "wrapped_secret_id_file": wrapped}
    assert refused_wrapped(vault, auth).code == "unreachable"
    assert len(vault.server.asked("unwrap")) == 1


def test_unwrapping_is_tried_again_when_it_was_not_begun(vault: Bed) -> None:
    wrapped = vault.file("wrapped", vault.wrapped_secret_id())
    vault.server.faults.add(faults.answered(429, "unwrap", Retry_After="0"))
    auth = {"method": "approle", "role_id_file": vault.approle["role_id_file"], "wrapped_secret_id_file": wrapped}
    reads(vault, auth)
    assert len(vault.server.asked("unwrap")) == 2


def test_jwt(vault: Bed) -> None:
    signer = Signer()
    vault.server.administer("POST", "sys/auth/jwt", {"type": "jwt"})
    vault.server.administer("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [signer.public]})
    vault.server.administer("POST", "auth/jwt/role/agent", {"bound_audiences": "vault", "token_policies": "agent"})
    good = vault.file("jwt", signer.sign(sub="agent", aud="vault"))
    bad = vault.file("bad", Signer().sign(sub="agent", aud="vault"))
    assert refused(vault, {"method": "jwt", "jwt_file": bad, "role": "agent"}).code == "login_refused"
    vault.server.requests.clear()
    reads(vault, {"method": "jwt", "jwt_file": good, "role": "agent"})


def test_kubernetes(vault: Bed) -> None:
    user = "system:serviceaccount:fleet:agent"
    jwt = Signer().sign(sub=user)
    vault.server.administer("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    with cluster(jwt, user) as address:
        vault.server.administer("POST", "auth/kubernetes/config", {"kubernetes_host": address})
        bound = {"bound_service_account_names": "agent", "bound_service_account_namespaces": "fleet"}
        vault.server.administer("POST", "auth/kubernetes/role/agent", {**bound, "token_policies": "agent"})
        reads(vault, {"method": "kubernetes", "role": "agent", "jwt_file": vault.file("jwt", jwt, 0o444)})


@pytest.mark.parametrize("method", ["userpass", "ldap"])
def test_user_and_password(vault: Bed, method: str) -> None:
    vault.server.administer("POST", f"sys/auth/{method}", {"type": method})
    user = {"password": "right", "token_policies": "agent"}
    vault.server.administer("POST", f"auth/{method}/users/ana maria", user)
    wrong = {"method": method, "username": "ana maria", "password_file": vault.file("wrong", "wrong")}
    assert refused(vault, wrong).code == "login_refused"
    vault.server.requests.clear()
    reads(vault, {**wrong, "password_file": vault.file("right", "right\n")})


def test_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = Tls(*authority.issue("server"), authorities=(authority.file,))
    certificate, key = map(str, authority.issue("agent"))
    with bed(tmp_path, tls=tls) as vault:
        vault.put("a", value="read")
        vault.server.administer("POST", "sys/auth/cert", {"type": "cert"})
        trusted = {"certificate": authority.file.read_text(), "token_policies": "agent"}
        vault.server.administer("POST", "auth/cert/certs/agent", trusted)
        options = {"ca_file": str(authority.file)}
        client = {"client_certificate_file": certificate, "client_key_file": key}
        assert refused(vault, {"method": "cert"}, **options).code == "unreadable"
        reads(vault, {"method": "cert", "name": "agent"}, **options, **client)


def test_another_mount(vault: Bed) -> None:
    vault.server.administer("POST", "sys/auth/hosts", {"type": "approle"})
    vault.server.administer("POST", "auth/hosts/role/agent", {"token_policies": "agent", "bind_secret_id": False})
    role_id = vault.server.administer("GET", "auth/hosts/role/agent/role-id")["data"]["role_id"]
    reads(vault, {"method": "approle", "role_id_file": vault.file("other", role_id), "mount": "hosts"})


def test_a_mount_that_is_not_there(vault: Bed) -> None:
    assert refused(vault, {**vault.approle, "mount": "nowhere"}).code == "login_refused"


@pytest.mark.parametrize(
    ("content", "mode"), [("", 0o400), ("two\nlines", 0o400), ("readable by all", 0o444), ("\udcff\udcfe", 0o400)]
)
def test_files_that_are_no_credential(vault: Bed, content: str, mode: int) -> None:
    path = vault.file("token", "x")
    Path(path).chmod(0o600)
    Path(path).write_bytes(content.encode("utf-8", "surrogateescape"))
    Path(path).chmod(mode)
    error = refused(vault, {"method": "token", "token_file": path})
    assert error.code == "unreadable"
    assert error.where == path
    assert vault.server.requests == []


def test_a_file_that_is_not_there(vault: Bed) -> None:
    error = refused(vault, {"method": "token", "token_file": "/nowhere/token"})
    assert error.code == "unreadable"
    assert "No such file" in str(error)


def test_a_token_that_cannot_be_sent(vault: Bed) -> None:
    error = refused(vault, {"method": "token", "token_file": vault.file("token", "hvs.щит")})
    assert error.code == "unreadable"
    assert "щит" not in str(error)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_options_that_cannot_be_meant(name: str) -> None:
    with pytest.raises(SecretError, match="does not take surprise"):
        chosen({"method": name, "surprise": 1})
    if name != "cert":
        with pytest.raises(SecretError, match="needs"):
            chosen({"method": name})


def test_methods_that_are_none() -> None:
    both = {"role_id_file": "a", "secret_id_file": "b", "wrapped_secret_id_file": "c"}
    for options in ({"method": "kerberos"}, {}, {"method": "approle", **both}):
        with pytest.raises(SecretError):
            chosen(options)


def test_the_environment_is_not_looked_at(vault: Bed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (
        ("VAULT_TOKEN", vault.server.root_token),
        ("VAULT_ADDR", "http://127.0.0.1:1"),
        ("VAULT_NAMESPACE", "elsewhere"),
        ("VAULT_CACERT", "/nowhere"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("REQUESTS_CA_BUNDLE", "/nowhere"),
        ("HOME", str(tmp_path)),
    ):
        monkeypatch.setenv(name, value)
    (tmp_path / ".vault-token").write_text(vault.server.root_token)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    reads(vault, vault.approle)
    sent = {request.headers.get("X-Vault-Token") for request in vault.server.requests}
    assert vault.server.root_token not in sent
    assert all("Authorization" not in request.headers for request in vault.server.requests)
