# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of secrets that come from Vault: few requests, leases that live on, and what happens while Vault is away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from memory_folder import memory_folder
from reading import QuickClock, bed
from vault_server.bed import Bed

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import injection
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.faults import SecretError

pytest.importorskip("hvac", reason="the Python package hvac is not installed")
USER, PASSWORD = (
    {"name": f"archive_{field}", "path": "database/creds/agent", "field": field, "dynamic": True}
    for field in ("username", "password")
)


class Host:
    def __init__(self, vault: Bed, folder: Path) -> None:
        self.vault, self.path = vault, folder / "secrets"
        self.clock = QuickClock()

    def put(self, *secrets: dict[str, Any], check: bool = False, **options: Any) -> injection.Injected:
        gate = options.pop("gate", None)
        world = injection.World(self.clock, None, lambda _step: None, lambda _value: None, gate)  # type: ignore[arg-type]
        wanted = injection.Wanted(str(self.path), self.vault.source(patience=0.5), secrets, **options)
        return injection.inject(wanted, world, check=check)

    def value(self, name: str) -> str:
        return (self.path / name).read_text()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with bed(tmp_path) as vault, memory_folder() as memory:
        yield Host(vault, memory)


def test_a_new_version_is_a_new_value(host: Host) -> None:
    declared = {"name": "alpha", "path": "kv/fleet/alpha"}
    host.vault.put("fleet/alpha", value="one")
    assert host.put(declared).plan.changes[0].version == "1"
    host.vault.put("fleet/alpha", value="two")
    (change,) = host.put(declared, check=True).plan.changes
    assert (change.change, change.version_before, change.version) == ("changed", "1", "2")
    assert host.value("alpha") == "one"
    host.put(declared)
    assert host.value("alpha") == "two" and host.vault.tokens() == set()
    host.vault.put("fleet/alpha", value="two")
    assert not host.put(declared).plan.changed, "a new version of the same value disturbs nobody"
    assert host.put({**declared, "version": 1}).plan.changed_names == ["alpha"] and host.value("alpha") == "one"


def test_an_account_lives_as_long_as_its_lease(host: Host) -> None:
    host.vault.database()
    host.vault.put("fleet/alpha", value="one")
    alpha = {"name": "alpha", "path": "kv/fleet/alpha"}
    assert host.put(USER, PASSWORD, check=True).plan.changed_names == ["archive_password", "archive_username"]
    assert host.vault.accounts == {}, "check mode makes no account"
    host.put(USER, PASSWORD, alpha)
    user = host.value("archive_username")
    assert list(host.vault.accounts) == [user] and host.value("archive_password")
    assert not host.put(USER, PASSWORD, alpha).plan.changed and list(host.vault.accounts) == [user]
    host.vault.put("fleet/alpha", value="two")
    assert host.put(USER, PASSWORD, alpha).plan.changed_names == ["alpha"] and list(host.vault.accounts) == [user]
    assert not host.put(USER, PASSWORD, alpha, check=True).plan.changed
    host.put(alpha)
    assert host.vault.accounts == {} and host.vault.tokens() == set()
    assert sorted(os.listdir(host.path))[-1] == "alpha" and "..leases" not in os.listdir(host.path)


def test_an_account_whose_file_is_damaged_is_made_anew(host: Host) -> None:
    host.vault.database()
    host.put(USER, PASSWORD)
    user = host.value("archive_username")
    (host.path / "archive_password").resolve().unlink()
    assert sorted(host.put(USER, PASSWORD).plan.changed_names) == ["archive_password", "archive_username"]
    assert host.value("archive_username") != user
    assert host.value("archive_username") in host.vault.accounts and host.value("archive_password")


def test_an_account_that_was_taken_back_is_not_taken_for_the_new_one(host: Host) -> None:
    """After a switch that was taken back, files and leases do not belong together: the next run makes them anew."""
    host.vault.database()
    host.put(USER, PASSWORD)
    old = host.value("archive_username")
    (host.path / "archive_password").resolve().chmod(0o444)
    with pytest.raises(ContinuityError, match="agents are not well"):
        host.put(USER, PASSWORD, gate=_closed)
    assert host.value("archive_username") == old
    (host.path / "archive_password").resolve().chmod(0o400)
    host.put(USER, PASSWORD)
    assert host.value("archive_username") in set(host.vault.accounts) - {old}


def _closed(*_arguments: Any) -> None:
    raise ContinuityError("agents are not well")


def test_a_failing_run_takes_no_account_from_those_who_have_it(host: Host) -> None:
    host.vault.database()
    host.put(USER, PASSWORD)
    user = host.value("archive_username")
    with pytest.raises(SecretError):
        host.put(USER, PASSWORD, {"name": "alpha", "path": "kv/nothing"})
    assert list(host.vault.accounts) == [user]
    assert not host.put(USER, PASSWORD).plan.changed and list(host.vault.accounts) == [user]


def test_a_failed_task_leaves_no_account(host: Host) -> None:
    host.vault.database()
    with pytest.raises(SecretError) as failure:
        host.put(USER, {"name": "alpha", "path": "kv/nothing"})
    assert failure.value.code == "missing"
    assert host.vault.accounts == {} and host.vault.tokens() == set() and not host.path.exists()


@pytest.mark.parametrize("outage", ["sealed", "gone"])
def test_while_vault_is_away_everything_stays(host: Host, outage: str) -> None:
    declared = {"name": "alpha", "path": "kv/fleet/alpha"}
    host.vault.put("fleet/alpha", value="one")
    host.put(declared, {"name": "gone", "path": "kv/fleet/alpha"})
    before = sorted(os.listdir(host.path))
    if outage == "sealed":
        host.vault.server.node.sealed = True
    else:
        host.vault.server.stop()
    with pytest.raises(SecretError) as failure:
        host.put(declared)
    assert failure.value.outage
    kept = host.put(declared, keep_on_outage=True)
    assert kept.stale and not kept.plan.changed and "kept" in kept.warnings[-1]
    assert sorted(os.listdir(host.path)) == before and host.value("alpha") == "one"
    with pytest.raises(SecretError):
        host.put(declared, {"name": "beta", "path": "kv/fleet/alpha"}, keep_on_outage=True)
    (host.path / "alpha").resolve().unlink()
    with pytest.raises(SecretError):
        host.put(declared, keep_on_outage=True)


def test_77_secrets_are_one_login(host: Host) -> None:
    declared = [{"name": f"secret{number}", "path": f"kv/fleet/agent{number}"} for number in range(77)]
    for number in range(77):
        host.vault.put(f"fleet/agent{number}", value=f"value-{number}")
    before = len(host.vault.server.requests)
    assert len(host.put(*declared).plan.changed_names) == 77
    assert host.value("secret76") == "value-76"
    assert len(host.vault.server.requests) - before == 77 + 3, "a login, a question for the mount, reads, a revocation"
