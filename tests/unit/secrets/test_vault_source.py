# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading from Vault: what comes back, with how many requests, and what stays."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from reading import QuickClock, bed, secrets, source
from vault_server import faults
from vault_server.bed import Bed
from vault_server.profiles import CURRENT, OLDER

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.faults import SecretError


@pytest.fixture(params=[OLDER, CURRENT], ids=lambda profile: profile.name)
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    with bed(tmp_path, request.param) as made:
        yield made


def refused(vault: Bed, *entries: object, **options: object) -> SecretError:
    reader = source(vault, **options)
    with pytest.raises(SecretError) as caught:
        reader.read(secrets(*entries))
    reader.close()
    return caught.value


def test_values_and_versions(vault: Bed) -> None:
    vault.put("app/db", user="fleet", password="first")
    vault.put("app/db", user="fleet", password="zweites Wört")
    vault.put_old("app", value="old")
    reader = source(vault)
    found = reader.read(
        secrets(
            "kv/app/db:user", "kv/app/db:password", {"path": "kv/app/db", "field": "password", "version": 1}, "old/app"
        )
    )
    assert [(found[name].value.text(), found[name].version) for name in ("a0", "a1", "a2", "a3")] == [
        ("fleet", "2"),
        ("zweites Wört", "2"),
        ("first", "1"),
        ("old", None),
    ]
    reader.close()
    assert reader.warnings == []


def test_one_login_few_reads_one_revocation(vault: Bed) -> None:
    for number in range(40):
        vault.put(f"agent{number}", user=f"u{number}", password=f"p{number}")
    reader = source(vault)
    wanted = [f"kv/agent{number}:{field}" for number in range(40) for field in ("user", "password")]
    found = reader.read(secrets(*wanted))
    assert len(found) == 80
    reader.close()
    asked = Counter(line.split("/agent")[0] for line in vault.server.asked())
    assert asked == {
        "POST auth/approle/login": 1,
        "GET sys/internal/ui/mounts/kv": 1,
        "GET kv/data": 40,
        "POST auth/token/revoke-self": 1,
    }
    assert reader.requests == 43
    assert vault.server.connections <= 8
    assert vault.tokens() == set()


def test_a_named_version_of_the_mount_spares_the_question(vault: Bed) -> None:
    vault.put("a", value="1")
    reader = source(vault, mounts={"kv/": 2})
    assert reader.read(secrets("kv/a"))["a0"].value.text() == "1"
    reader.close()
    assert [line.split()[1] for line in vault.server.asked()] == [
        "auth/approle/login",
        "kv/data/a",
        "auth/token/revoke-self",
    ]


def test_paths_with_other_letters(vault: Bed) -> None:
    vault.put("räume/db 1+&=;", **{"kleines Wort": "here"})
    vault.put_old("räume/db 1+&=;", value="there")
    reader = source(vault)
    found = reader.read(secrets("kv/räume/db 1+&=;:kleines Wort", "old/räume/db 1+&=;"))
    assert [found["a0"].value.text(), found["a1"].value.text()] == ["here", "there"]
    reader.close()


def test_values_of_any_size(vault: Bed) -> None:
    sizes = (0, 1, 1900, 2100, 5000, 70_000, 500_000)
    for size in sizes:
        vault.put(f"s{size}", value="x" * size)
    reader = source(vault, parallel=1)
    found = reader.read(secrets(*(f"kv/s{size}" for size in sizes)))
    assert [len(found[f"a{number}"].value.reveal()) for number in range(len(sizes))] == list(sizes)
    reader.close()
    assert vault.server.connections == 1


def test_nothing_asked_for_nothing_opened(vault: Bed) -> None:
    reader = source(vault)
    reader.close()
    assert vault.server.requests == []


def test_several_calls_share_the_login(vault: Bed) -> None:
    vault.put("a", value="1")
    reader = source(vault)
    for _repeat in range(3):
        reader.read(secrets("kv/a"))
        reader.versions(secrets("kv/a"))
    reader.close()
    assert len(vault.server.asked("login")) == 1
    assert len(vault.server.asked("ui/mounts")) == 1


def test_fields_that_are_no_text(vault: Bed) -> None:
    vault.put("a", port=5432, on=True, ratio=0.5, tree={"b": [1]}, word="yes")
    reader = source(vault)
    found = reader.read(secrets("kv/a:port", "kv/a:on", "kv/a:tree", "kv/a:*"))
    assert [found[f"a{number}"].value.text() for number in range(3)] == ["5432", "true", '{"b": [1]}']
    assert json.loads(found["a3"].value.reveal())["word"] == "yes"
    reader.close()


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("kv/none", "missing"),
        ("kv/there:none", "missing"),
        ({"path": "kv/there", "version": 99}, "missing"),
        ("kv/deleted", "deleted"),
        ({"path": "kv/destroyed", "version": 1}, "destroyed"),
        ("nowhere/x", "denied"),
        ("hidden/x", "denied"),
        ("old/none", "missing"),
        ({"path": "old/there", "version": 1}, "missing"),
    ],
)
def test_what_cannot_be_had(vault: Bed, entry: object, code: str) -> None:
    vault.put("there", value="1")
    vault.put_old("there", value="1")
    for name, action in (("deleted", "delete"), ("destroyed", "destroy")):
        vault.put(name, value="1")
        vault.server.administer("POST", f"kv/{action}/{name}", {"versions": [1]})
    vault.server.administer("POST", "sys/mounts/hidden", {"type": "kv"})
    error = refused(vault, entry)
    assert error.code == code
    assert not error.outage
    assert not vault.tokens()


def test_all_that_is_missing_is_named_at_once(vault: Bed) -> None:
    vault.put("there", value="1")
    error = refused(vault, "kv/one", "kv/there", "kv/two", "kv/there:none")
    assert {name: failure.code for name, failure in error.failures.items()} == dict.fromkeys(
        ["a0", "a2", "a3"], "missing"
    )
    for name in ("a0", "a2", "a3"):
        assert name in str(error)


def test_an_engine_that_is_none_of_ours(vault: Bed) -> None:
    vault.server.administer("POST", "sys/mounts/transit", {"type": "transit"})
    token = vault.file("root", vault.server.root_token)
    error = refused(vault, "transit/keys", auth={"method": "token", "token_file": token})
    assert error.code == "refused"
    assert "dynamic" in str(error)


def test_versions_without_reading_values(vault: Bed) -> None:
    vault.put("a", value="1")
    vault.put("a", value="2")
    vault.put_old("a", value="1")
    vault.server.requests.clear()
    reader = source(vault)
    wanted = secrets("kv/a", {"path": "kv/a", "version": 1}, "old/a")
    assert reader.versions(wanted) == {"a0": "2", "a1": "1", "a2": None}
    reader.close()
    assert vault.server.asked("/data/") == []
    assert vault.server.asked("GET old/") == []


def test_versions_are_asked_once_a_path(vault: Bed) -> None:
    for number in range(5):
        vault.put(f"a{number}", user="u", password="p")
    reader = source(vault)
    wanted = secrets(*(f"kv/a{number}:{field}" for number in range(5) for field in ("user", "password")))
    assert set(reader.versions(wanted).values()) == {"1"}
    reader.close()
    assert len(vault.server.asked("kv/metadata")) == 5


def test_one_login_for_many_threads(vault: Bed) -> None:
    for number in range(10):
        vault.put(f"a{number}", value=str(number))
    reader = source(vault)
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda number: reader.read(secrets(f"kv/a{number}"))["a0"].value.text(), range(10)))
    assert found == [str(number) for number in range(10)]
    reader.close()
    assert len(vault.server.asked("login")) == 1
    assert len(vault.server.asked("ui/mounts")) == 1


def test_versions_where_metadata_is_not_shown(vault: Bed) -> None:
    vault.put("a", value="1")
    policy = 'path "kv/data/*" { capabilities = ["read"] }'
    vault.server.administer("PUT", "sys/policies/acl/agent", {"policy": policy})
    reader = source(vault)
    assert reader.versions(secrets("kv/a")) == {"a0": None}
    reader.close()


def test_dynamic_secrets_end_with_the_task(vault: Bed) -> None:
    vault.database()
    reader = source(vault)
    found = reader.read(secrets("database/creds/agent:username", "database/creds/agent:password", dynamic=True))
    assert set(vault.accounts) == {found["a0"].value.text()}
    assert len(vault.server.asked("database/creds")) == 1
    assert reader.leases["database/creds/agent"].seconds == 300
    reader.close()
    assert vault.accounts == {}


def test_leases_are_kept_renewed_and_revoked(vault: Bed, tmp_path: Path) -> None:
    vault.database()
    held = str(tmp_path / "held")
    clock = QuickClock()
    wanted = secrets("database/creds/agent:username", dynamic=True)
    first = source(vault, clock)
    name = first.read(wanted)["a0"].value.text()
    first.hold(held)
    first.close()
    assert (tmp_path / "held").stat().st_mode & 0o777 == 0o600
    assert set(vault.accounts) == {name}

    def pass_time(seconds: float) -> None:
        vault.server.advance(seconds)
        clock.ahead += seconds

    pass_time(100)
    early = source(vault, clock)
    assert early.resume(held)["database/creds/agent"].seconds == 300
    assert vault.server.asked("leases/renew") == []
    pass_time(120)
    due = source(vault, clock)
    due.resume(held)
    due.hold(held)
    due.close()
    assert len(vault.server.asked("leases/renew")) == 1
    assert len(vault.server.asked("login")) == 1
    pass_time(250)
    assert set(vault.accounts) == {name}
    last = source(vault, clock)
    lease = last.resume(held)["database/creds/agent"]
    last.revoke(lease)
    assert vault.accounts == {}
    with pytest.raises(SecretError) as caught:
        last.renew(lease)
    assert caught.value.code == "lease_lost"
    last.close()
    assert vault.tokens() == set()


def test_a_run_that_fails_takes_nothing_from_those_who_have_it(vault: Bed, tmp_path: Path) -> None:
    vault.database()
    vault.server.administer("POST", "database/roles/more", {"default_ttl": "300s"})
    held, wanted = str(tmp_path / "held"), secrets("database/creds/agent:username", dynamic=True)
    first = source(vault)
    name = first.read(wanted)["a0"].value.text()
    first.hold(held)
    first.close()
    later = source(vault)
    later.resume(held)
    with pytest.raises(SecretError):
        later.read(secrets({"path": "database/creds/more", "dynamic": True, "field": "none"}, "kv/none"))
    assert len(vault.accounts) == 2
    later.close()
    assert set(vault.accounts) == {name}
    assert len(vault.tokens()) == 1


def test_a_token_of_somebody_else_is_kept_but_not_its_leases(vault: Bed, tmp_path: Path) -> None:
    vault.database()
    created = vault.server.administer("POST", "auth/token/create", {"policies": ["agent"], "ttl": "1h"})
    token = created["auth"]["client_token"]
    auth = {"method": "token", "token_file": vault.file("token", token)}
    held, wanted = str(tmp_path / "held"), secrets("database/creds/agent:username", dynamic=True)
    reader = source(vault, auth=auth)
    reader.read(wanted)
    reader.close()
    assert vault.accounts == {}
    keeper = source(vault, auth=auth)
    keeper.read(wanted)
    keeper.hold(held)
    keeper.close()
    again = source(vault, auth=auth)
    assert set(again.resume(held)) == {"database/creds/agent"}
    again.close()
    assert len(vault.accounts) == 1
    assert vault.server.asked("renew-self") == []


def test_leases_end_with_a_token_that_cannot_live_long_enough(vault: Bed, tmp_path: Path) -> None:
    vault.database()
    vault.server.administer("POST", "auth/approle/role/agent", {"token_explicit_max_ttl": "400s"})
    held, clock = str(tmp_path / "held"), QuickClock()
    reader = source(vault, clock)
    reader.read(secrets("database/creds/agent:username", dynamic=True))
    reader.hold(held)
    reader.close()
    vault.server.advance(150)
    clock.ahead += 150
    early = source(vault, clock)
    assert early.resume(held) != {}
    early.close()
    vault.server.advance(200)
    clock.ahead += 200
    late = source(vault, clock)
    assert late.resume(held) == {}
    late.read(secrets("database/creds/agent:username", dynamic=True))
    late.hold(held)
    late.close()
    assert len(vault.server.asked("login")) == 2


def test_a_lease_near_its_end_is_not_kept(vault: Bed, tmp_path: Path) -> None:
    vault.database(default_ttl="300s", max_ttl="320s")
    held, clock = str(tmp_path / "held"), QuickClock()
    reader = source(vault, clock)
    reader.read(secrets("database/creds/agent:username", dynamic=True))
    reader.hold(held)
    vault.server.advance(250)
    clock.ahead += 250
    assert source(vault, clock).resume(held) == {}


def test_what_was_kept_has_ended(vault: Bed, tmp_path: Path) -> None:
    vault.database()
    held, clock = str(tmp_path / "held"), QuickClock()
    reader = source(vault, clock)
    assert reader.resume(held) == {}
    reader.read(secrets("database/creds/agent:username", dynamic=True))
    reader.hold(held)
    vault.server.advance(4000)
    clock.ahead += 4000
    again = source(vault, clock)
    assert again.resume(held) == {}
    again.read(secrets("database/creds/agent:username", dynamic=True))
    again.close()
    assert len(vault.server.asked("login")) == 2


def test_a_damaged_file_of_leases(vault: Bed, tmp_path: Path) -> None:
    (tmp_path / "held").write_text('{"token": "x"')
    with pytest.raises(SecretError) as caught:
        source(vault).resume(str(tmp_path / "held"))
    assert caught.value.code == "unreadable"


def test_certificates_with_parameters(vault: Bed) -> None:
    vault.server.administer("POST", "sys/mounts/pki", {"type": "pki"})
    vault.server.administer("POST", "pki/root/generate/internal", {"common_name": "tests"})
    vault.server.administer("POST", "pki/roles/agent", {"generate_lease": True})
    common = {"path": "pki/issue/agent", "parameters": {"common_name": "agent.example"}}
    reader = source(vault)
    found = reader.read(secrets({**common, "field": "certificate"}, {**common, "field": "private_key"}))
    assert found["a0"].value.reveal().startswith(b"-----BEGIN CERTIFICATE")
    assert b"PRIVATE KEY" in found["a1"].value.reveal()
    assert len(vault.server.asked("pki/issue")) == 1
    assert not reader.leases["pki/issue/agent"].renewable
    reader.close()


def test_namespaces(tmp_path: Path) -> None:
    with bed(tmp_path, CURRENT) as vault:
        vault.server.administer("POST", "sys/namespaces/team")
        inside = {"X_Vault_Namespace": "team"}
        vault.server.administer("POST", "sys/mounts/kv", {"type": "kv"}, **inside)
        vault.server.administer("POST", "kv/a", {"value": "of the team"}, **inside)
        auth = {"method": "token", "token_file": vault.file("root", vault.server.root_token)}
        reader = source(vault, auth=auth, namespace="team")
        assert reader.read(secrets("kv/a"))["a0"].value.text() == "of the team"
        reader.close()


def test_a_mount_that_is_not_ready_yet(vault: Bed) -> None:
    vault.server.core.upgrading = 2
    vault.server.administer("POST", "sys/mounts/new", {"type": "kv", "options": {"version": "2"}})
    error = refused(vault, "new/a", auth={"method": "token", "token_file": vault.file("t", vault.server.root_token)})
    assert error.code == "missing"
    assert len(vault.server.asked("new/data/a")) == 3


def test_another_version_between_metadata_and_value(vault: Bed) -> None:
    vault.put("a", value="1")
    reader = source(vault)
    assert reader.versions(secrets("kv/a")) == {"a0": "1"}
    vault.server.faults.add(faults.first(lambda: vault.put("a", value="2"), "GET kv/data/a"))
    found = reader.read(secrets("kv/a"))["a0"]
    assert (found.value.text(), found.version) == ("2", "2")
    reader.close()


def test_the_audit_log_shows_no_value(vault: Bed) -> None:
    vault.put("a", value="a value that nobody else has")
    reader = source(vault)
    reader.read(secrets("kv/a"))
    reader.close()
    log = "\n".join(vault.server.core.audit)
    assert "kv/data/a" in log
    for value in ("a value that nobody else has", vault.secret_id, vault.role_id, vault.server.root_token):
        assert value not in log
