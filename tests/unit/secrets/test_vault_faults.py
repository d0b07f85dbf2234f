# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever goes wrong between us and Vault: the code, how often it was tried, and that nothing is shown."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import QuickClock, bed, leaks, secrets, shown, source
from vault_server import faults
from vault_server.bed import Bed
from vault_server.certificates import Authority
from vault_server.faults import Fault
from vault_server.server import Tls, VaultServer

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import transport
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.endpoint import Endpoint
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.faults import SecretError

VALUE = "qzV7canaryOfAValue"


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Bed]:
    with bed(tmp_path) as made:
        made.put("a", value=VALUE)
        yield made


def canaries(vault: Bed) -> list[str]:
    """Everything that nobody may see: values, credentials, tokens, leases."""
    wrapped = list(vault.server.core.wrapped)
    sent = {str(request.headers.get("X-Vault-Token")) for request in vault.server.requests} - {"None"}
    leases = list(vault.server.core.tokens.leases)
    return [VALUE, vault.secret_id, vault.role_id, *wrapped, *sent, *vault.tokens(), *leases]


def refused(vault: Bed, *entries: object, clock: object = None, **options: object) -> SecretError:
    """The error of a read; no part of it shows anything."""
    reader = source(vault, clock or QuickClock(), **options)
    with pytest.raises(SecretError) as caught:
        reader.read(secrets(*(entries or ("kv/a",))))
    reader.close()
    assert leaks(shown(caught.value), canaries(vault)) == []
    assert leaks(" ".join(reader.warnings), canaries(vault)) == []
    return caught.value


@pytest.mark.parametrize("leak", ["text", "cause", "frame"])
def test_a_build_that_leaks_is_noticed(vault: Bed, monkeypatch: pytest.MonkeyPatch, leak: str) -> None:
    """The search in every other test of this file would have found it."""

    def error(
        self: transport.Transport, method: str, url: str, answer: transport.Answer, problem: object
    ) -> SecretError:
        made = SecretError("unavailable", str(answer.body) if leak == "text" else "trouble")
        if leak == "cause":
            made.__cause__ = ValueError(answer.body)
        return made

    monkeypatch.setattr(transport.Transport, "_error", error)
    if leak == "frame":
        monkeypatch.setattr(SecretError, "with_traceback", lambda error, _none: error)
    vault.server.faults.add(faults.answered(418, "kv/data", text=f"echo of {VALUE}"))
    with pytest.raises(SecretError) as caught:
        source(vault).read(secrets("kv/a"))
    assert leaks(shown(caught.value), canaries(vault)) != []


STEPS = {
    "login": "POST auth/approle/login",
    "mount": "GET sys/internal/ui/mounts",
    "read": "GET kv/data/a",
}
AGAIN = [412, 429, 472, 473, 500, 502, 503, 504]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("status", AGAIN)
def test_passing_trouble_is_waited_for(vault: Bed, step: str, status: int) -> None:
    vault.server.faults.add(faults.answered(status, STEPS[step], times=3, text=f"echo of {VALUE}"))
    clock = QuickClock()
    reader = source(vault, clock)
    assert reader.read(secrets("kv/a"))["a0"].value.text() == VALUE
    reader.close()
    assert len(clock.slept) == 3
    assert reader.requests == 7


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("status", AGAIN)
def test_lasting_trouble_is_an_outage(vault: Bed, step: str, status: int) -> None:
    vault.server.faults.add(faults.answered(status, STEPS[step], times=None, text=f"echo of {VALUE}"))
    clock = QuickClock()
    error = refused(vault, clock=clock)
    assert error.outage
    assert error.code == {429: "rate_limited", 472: "standby", 473: "standby"}.get(status, "unavailable")
    assert str(status) in str(error)
    assert 25 < sum(clock.slept) <= 30


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("status", "code"), [(400, "refused"), (403, "denied"), (404, "missing"), (405, "refused"), (418, "not_vault")]
)
def test_a_clear_no_is_taken_at_once(vault: Bed, step: str, status: int, code: str) -> None:
    vault.server.faults.add(faults.answered(status, STEPS[step], times=None, text=f"echo of {VALUE}"))
    clock = QuickClock()
    error = refused(vault, clock=clock)
    assert error.code == ("login_refused" if step == "login" and status != 418 else code)
    assert not error.outage
    assert clock.slept == []


@pytest.mark.parametrize("step", STEPS)
def test_sealed(vault: Bed, step: str) -> None:
    def seal() -> None:
        vault.server.node.sealed = True

    vault.server.faults.add(faults.first(seal, STEPS[step]))
    clock = QuickClock()
    error = refused(vault, clock=clock)
    assert (error.code, error.outage, clock.slept) == ("sealed", True, [])
    vault.server.node.sealed = False


def test_sealed_in_the_middle_of_a_batch(vault: Bed) -> None:
    def seal() -> None:
        vault.server.node.sealed = True

    for number in range(60):
        vault.put(f"b{number}", value=VALUE)
    vault.server.faults.add(faults.first(seal, "GET kv/data/b20"))
    error = refused(vault, *(f"kv/b{number}" for number in range(60)))
    assert error.code == "sealed"
    assert "a59" in error.failures
    assert len(vault.server.asked("kv/data/b")) < 50
    vault.server.node.sealed = False


@pytest.mark.parametrize(
    "fault",
    [
        faults.bad_gateway,
        faults.page,
        faults.truncated,
        faults.reset,
        lambda pattern, times: faults.answered(200, pattern, times=times, text=f"{VALUE}"),
        lambda pattern, times: Fault(pattern, times, status=200, body=b'"' + VALUE.encode() + b'"'),
        lambda pattern, times: Fault(pattern, times, status=200, body=b"[]"),
        lambda pattern, times: Fault(pattern, times, status=404, body=b'{"data":"' + VALUE.encode() + b'"}'),
        lambda pattern, times: Fault(pattern, times, status=204, body=b""),
    ],
)
@pytest.mark.parametrize("step", STEPS)
def test_answers_that_are_none(vault: Bed, step: str, fault: Callable[..., Fault]) -> None:
    vault.server.faults.add(fault(STEPS[step], times=None))
    error = refused(vault)
    assert error.code in ("not_vault", "unavailable", "unreachable", "missing", "login_refused")


def test_a_proxy_that_echoes_is_survived(vault: Bed) -> None:
    vault.server.faults.add(faults.bad_gateway("kv/data", times=2))
    reader = source(vault)
    assert reader.read(secrets("kv/a"))["a0"].value.text() == VALUE
    reader.close()


@pytest.mark.parametrize("step", STEPS)
def test_connections_that_break_are_made_again(vault: Bed, step: str) -> None:
    vault.server.faults.add(faults.reset(STEPS[step], times=2))
    reader = source(vault)
    assert reader.read(secrets("kv/a"))["a0"].value.text() == VALUE
    reader.close()


def test_slow_answers(vault: Bed) -> None:
    vault.server.faults.add(faults.delayed(0.4, "kv/data", times=None))
    error = refused(vault, answer=0.1, patience=0.5)
    assert error.code == "unreachable"
    assert "in time" in str(error)


@pytest.mark.skipif(urllib3.__version__.startswith("1."), reason="this urllib3 waits until a part is full")
def test_answers_that_drip(vault: Bed) -> None:
    vault.server.faults.add(faults.dripping(0.02, "kv/data", times=None))
    began = time.monotonic()
    error = refused(vault, answer=0.2, patience=0.3)
    assert error.code == "unreachable"
    assert "in time" in str(error)
    assert time.monotonic() - began < 5


def test_answers_that_are_too_large(vault: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_LARGEST", 300)
    vault.server.faults.add(Fault("kv/data", None, status=200, body=b" " * 10_000))
    assert refused(vault).code == "not_vault"


def test_a_server_that_is_gone(vault: Bed) -> None:
    vault.server.stop()
    clock = QuickClock()
    error = refused(vault, clock=clock)
    assert error.code == "unreachable"
    assert 25 < sum(clock.slept) <= 30


def test_a_server_that_goes_in_between(vault: Bed) -> None:
    reader = source(vault)
    reader.read(secrets("kv/a"))
    vault.server.stop()
    reader.close()
    assert len(reader.warnings) == 1
    assert leaks(reader.warnings[0], canaries(vault)) == []


@pytest.mark.parametrize(("header", "least"), [("0", 0.0), ("7", 7.0)])
def test_retry_after_is_obeyed(vault: Bed, header: str, least: float) -> None:
    vault.server.faults.add(faults.answered(429, "kv/data", times=2, Retry_After=header))
    clock = QuickClock()
    reader = source(vault, clock)
    reader.read(secrets("kv/a"))
    reader.close()
    assert len(clock.slept) == 2
    assert all(least <= slept <= least + 1 for slept in clock.slept)


def test_retry_after_that_is_too_long(vault: Bed) -> None:
    vault.server.faults.add(faults.answered(503, "kv/data", times=None, Retry_After="3600"))
    clock = QuickClock()
    assert refused(vault, clock=clock).code == "unavailable"
    assert clock.slept == []


def test_a_quota_is_waited_for(vault: Bed) -> None:
    for number in range(12):
        vault.put(f"b{number}", value=str(number))
    vault.server.administer("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
    vault.server.administer("POST", "sys/quotas/rate-limit/tests", {"path": "kv/", "rate": 5, "interval": "1s"})
    reader = source(vault, patience=20, clock=None)
    began = time.monotonic()
    clock = QuickClock()
    reader = source(vault, clock)

    def pass_time(seconds: float) -> None:
        clock.ahead += seconds
        vault.server.advance(seconds)

    clock.sleep = pass_time  # type: ignore[method-assign]
    found = reader.read(secrets(*(f"kv/b{number}" for number in range(12))))
    assert [found[f"a{number}"].value.text() for number in range(12)] == [str(number) for number in range(12)]
    reader.close()
    assert time.monotonic() - began < 10


def test_a_redirect_elsewhere_is_not_followed(vault: Bed) -> None:
    with VaultServer() as stranger:
        vault.server.faults.add(faults.redirected(stranger.address, times=None))
        assert refused(vault).code == "redirected"
        assert stranger.requests == []


def test_a_redirect_to_the_active_one_is_followed_once(vault: Bed) -> None:
    with VaultServer(core=vault.server.core) as standby:
        standby.node.role, standby.node.leader, standby.node.forwards = "standby", vault.server.address, False
        options = {"address": standby.address, "redirects_to": [vault.server.address]}
        reader = source(vault, **options)
        assert reader.read(secrets("kv/a"))["a0"].value.text() == VALUE
        reader.close()
        assert standby.asked() == ["POST auth/approle/login"]
        assert len(vault.server.asked()) == 4
        assert refused(vault, address=standby.address).code == "redirected"


def test_redirects_in_a_circle_end(vault: Bed) -> None:
    with VaultServer(core=vault.server.core) as other:
        vault.server.faults.add(faults.redirected(other.address, times=None))
        other.faults.add(faults.redirected(vault.server.address, times=None))
        assert refused(vault, redirects_to=[other.address]).code == "redirected"


def test_a_standby_that_forwards(vault: Bed) -> None:
    with VaultServer(core=vault.server.core) as standby:
        standby.node.role, standby.node.leader = "standby", vault.server.address
        reader = source(vault, address=standby.address)
        assert reader.read(secrets("kv/a"))["a0"].value.text() == VALUE
        reader.close()


def test_no_leader_is_an_outage(vault: Bed) -> None:
    with VaultServer(core=vault.server.core) as standby:
        standby.node.role = "standby"
        assert refused(vault, address=standby.address).code == "unavailable"


def test_a_secret_id_that_the_server_echoes(vault: Bed) -> None:
    engine = vault.server.core.namespaces[""].auths["approle/"].engine
    engine.vanishing = True  # type: ignore[attr-defined]
    assert refused(vault).code == "login_refused"


@pytest.mark.parametrize(
    ("fault", "says"),
    [("authority", "certificate"), ("host", "certificate"), ("expired", "expired"), ("old", ""), ("client", "")],
)
def test_tls_that_is_wrong(tmp_path: Path, fault: str, says: str) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    hosts = ["elsewhere.example"] if fault == "host" else ["127.0.0.1"]
    files = authority.issue("server", hosts, expired=fault == "expired")
    tls = Tls(*files, authorities=(authority.file,), client_required=fault == "client", old=fault == "old")
    trusted = other if fault == "authority" else authority
    with bed(tmp_path, tls=tls) as vault:
        clock = QuickClock()
        error = refused(vault, clock=clock, ca_file=str(trusted.file))
        if fault == "client":
            # With TLS 1.3 the refusal comes after the handshake, as the end of the connection.
            assert error.code in ("untrusted", "unreachable")
        else:
            assert (error.code, clock.slept) == ("untrusted", [])
        assert says in str(error).lower()
        assert vault.server.requests == []


def test_tls_that_is_right_or_that_nobody_checks(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with bed(tmp_path, tls=Tls(*authority.issue("server", ["elsewhere.example"]))) as vault:
        vault.put("a", value="1")
        reader = source(vault, ca_file=str(authority.file), insecure="the certificate names another host")
        assert reader.read(secrets("kv/a"))["a0"].value.text() == "1"
        reader.close()
        assert len(reader.warnings) == 1
        assert reader.warnings[0].startswith("INSECURE: ")
        assert "names another host" in reader.warnings[0]


def test_files_for_tls_that_are_not_there(tmp_path: Path) -> None:
    with bed(tmp_path, tls=Tls(*Authority(tmp_path).issue("server"))) as vault:
        assert refused(vault, ca_file="/nowhere/ca.pem").code == "unreadable"


@pytest.mark.parametrize(
    "address",
    [
        "http://vault.example:8200",
        "ftp://x",
        "vault",
        "https://user:pw@vault.example",
        "https://x/y",
        "https://x:99999",
    ],
)
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(SecretError) as caught:
        Endpoint(address)
    assert caught.value.code in ("untrusted", "unreadable")
    assert "pw" not in str(caught.value)


def test_plain_http_with_a_reason() -> None:
    assert Endpoint("http://vault.example:8200", insecure="a tunnel").warnings
    assert not Endpoint("http://127.0.0.1:8200").warnings
    assert not Endpoint("http://[::1]:8200").warnings


def test_without_hvac(vault: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    with pytest.raises(Exception, match="needs the Python library hvac"):
        source(vault)


def test_errors_of_leases_show_nothing(vault: Bed) -> None:
    vault.database()
    reader = source(vault)
    reader.read(secrets("database/creds/agent:username", dynamic=True))
    lease = reader.leases["database/creds/agent"]
    for status, code in ((400, "lease_lost"), (500, "unavailable"), (403, "lease_lost")):
        for action in (reader.renew, reader.revoke):
            fault = vault.server.faults.add(faults.answered(status, "sys/leases", times=None, text="x"))
            with pytest.raises(SecretError) as caught:
                action(lease)
            assert caught.value.code == code
            assert leaks(shown(caught.value), canaries(vault)) == []
            vault.server.faults.clear()
            assert fault.hit
    assert leaks(repr(reader.leases), canaries(vault)) == []
    reader.close()


def test_a_wrapped_secret_id_shows_nothing(vault: Bed) -> None:
    token = vault.wrapped_secret_id()
    auth = {
        "method": "approle",
        "role_id_file": vault.approle["role_id_file"],
        "wrapped_secret_id_file": vault.file("wrapped", token),
    }
    for pattern in ("wrapping/lookup", "wrapping/unwrap"):
        for make in (faults.bad_gateway, faults.page, faults.truncated):
            vault.server.faults.add(make(pattern, times=None))
            error = refused(vault, auth=auth)
            assert leaks(shown(error), [token]) == []
            vault.server.faults.clear()


KEYS = [
    "data",
    "auth",
    "metadata",
    "client_token",
    "path",
    "type",
    "options",
    "version",
    "value",
    "errors",
    "lease_id",
    "lease_duration",
    "renewable",
]
KEYS += ["creation_path", "secret_id", "destroyed", "ttl", "username", VALUE]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from([VALUE, ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.fixture
def lying(vault: Bed) -> Bed:
    vault.database()
    return vault


@given(
    ANYTHING,
    st.sampled_from([200, 404, 400]),
    st.sampled_from(["login", "mounts", "data", "creds", "unwrap", "lookup"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_server_that_lies(lying: Bed, answer: object, status: int, step: str) -> None:
    """Whatever stands in an answer: a value comes back, or an error of ours that shows nothing."""
    lying.server.faults.clear()
    lying.server.faults.add(Fault(step, None, status=status, body=json.dumps(answer).encode()))
    auth = {**lying.approle}
    if step in ("unwrap", "lookup"):
        del auth["secret_id_file"]
        auth["wrapped_secret_id_file"] = lying.file("wrapped", lying.wrapped_secret_id())
    reader = source(lying, auth=auth)
    wanted = secrets("kv/a", {"path": "database/creds/agent", "field": "username", "dynamic": True})
    for read in (reader.read, reader.versions):
        assert leaks(what_is_shown(read, wanted), canaries(lying)) == []
    reader.close()


def what_is_shown(read: Callable[..., object], wanted: object) -> str:
    try:
        read(wanted)
    except SecretError as error:
        return shown(error)
    return ""
