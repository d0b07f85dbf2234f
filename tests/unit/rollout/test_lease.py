# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds the lease, for how long, and what clocks and deaths do to it."""

from __future__ import annotations

import json

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import boot_id
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout import lease as lease_file
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.lease import Lease, LeaseError, LeaseRecord
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.ledger import Ledger


class BentClock:
    def __init__(self):
        self.wall = 1_000_000.0
        self.up = 500.0

    def now(self):
        return self.wall

    def monotonic(self):
        return self.up

    def sleep(self, seconds):
        self.wall += seconds
        self.up += seconds


@pytest.fixture
def clock():
    return BentClock()


@pytest.fixture
def ledger(tmp_path, clock):
    return Ledger(str(tmp_path), "MainPC", clock)


@pytest.fixture
def lease(tmp_path, ledger, clock):
    return Lease(str(tmp_path), ledger, clock)


def events(ledger):
    return [entry["event"] for entry in ledger.entries()]


def test_taken_renewed_and_released(lease, ledger, clock):
    lease.acquire("anna@ops", "run1", 60)
    clock.sleep(50)
    lease.renew("anna@ops", "run1", 60)
    clock.sleep(50)
    assert lease.live().run == "run1"
    assert lease.acquire("anna@ops", "run1", 60).expires == clock.wall + 60
    assert lease.release("anna@ops", "run1")
    assert lease.live() is None
    assert not lease.release("anna@ops", "run1")
    assert events(ledger) == ["lease_taken", "lease_released"]


def test_a_live_lease_of_another_owner_is_named(lease, clock):
    lease.acquire("anna@ops", "run1", 60)
    clock.sleep(20)
    with pytest.raises(LeaseError, match=r"anna@ops \(run run1\) .* until 1970-01-12T13:47:40\+00:00, 40 s from now"):
        lease.acquire("ben@ops", "run2", 60)
    for act in (lambda: lease.renew("ben@ops", "run2", 60), lambda: lease.release("ben@ops", "run2")):
        with pytest.raises(LeaseError, match=r"anna@ops \(run run1\) has it"):
            act()
    assert lease.live().owner == "anna@ops"


def test_an_expired_lease_is_taken_over_and_the_ledger_says_so(lease, ledger, clock):
    lease.acquire("anna@ops", "run1", 60)
    clock.sleep(60)
    lease.acquire("ben@ops", "run2", 60)
    taken = ledger.entries()[-1]
    assert (taken["event"], taken["owner"], taken["run"]) == ("lease_taken_over", "ben@ops", "run2")
    assert (taken["from_owner"], taken["from_run"], taken["reason"]) == ("anna@ops", "run1", "expired")
    with pytest.raises(LeaseError, match=r"the lease of anna@ops .* is gone"):
        lease.renew("anna@ops", "run1", 60)


def test_who_waits_gets_the_lease_when_it_ends(lease, ledger, clock):
    lease.acquire("anna@ops", "run1", 60)
    began = clock.up
    with pytest.raises(LeaseError, match="anna@ops"):
        lease.acquire("ben@ops", "run2", 60, wait=30)
    assert clock.up - began == 30
    assert lease.acquire("ben@ops", "run2", 60, wait=60).owner == "ben@ops"
    assert clock.up - began == 60
    assert events(ledger) == ["lease_taken", "lease_taken_over"]


def test_foreseeing_changes_nothing(lease, ledger):
    assert lease.foresee("anna@ops", "run1", 60).owner == "anna@ops"
    assert lease.holder() is None and ledger.entries() == []
    lease.acquire("anna@ops", "run1", 60)
    with pytest.raises(LeaseError, match="anna@ops"):
        lease.foresee("ben@ops", "run2", 60)


def test_an_owner_takes_over_from_an_earlier_run_of_its_own(lease, ledger):
    lease.acquire("anna@ops", "run1", 60)
    lease.acquire("anna@ops", "run2", 60)
    assert ledger.entries()[-1]["reason"] == "same owner, other run"
    with pytest.raises(LeaseError, match="is gone"):
        lease.renew("anna@ops", "run1", 60)


def test_an_owner_that_slept_renews_if_nobody_took_it(lease, clock):
    lease.acquire("anna@ops", "run1", 60)
    clock.sleep(600)
    assert lease.live() is None
    lease.renew("anna@ops", "run1", 60)
    assert lease.live() is not None


@pytest.mark.parametrize("jump", [-86400, 86400, -3, 3])
def test_setting_the_wall_clock_changes_nothing(lease, clock, jump):
    lease.acquire("anna@ops", "run1", 60)
    clock.wall += jump
    clock.up += 59
    with pytest.raises(LeaseError, match="may change this host"):
        lease.acquire("ben@ops", "run2", 60)
    clock.up += 1
    lease.acquire("ben@ops", "run2", 60)


@pytest.mark.parametrize(
    ("wall", "remaining"),
    [(1010.0, 50.0), (1060.0, 0.0), (5000.0, -3940.0), (999.0, 0.0)],
)
def test_after_a_reboot_wall_time_counts_inside_its_span(wall, remaining):
    record = LeaseRecord("anna@ops", "run1", 1000.0, 1060.0, "earlier boot", 77.0)
    assert record.remaining(wall, 5.0, "this boot") == remaining


def test_the_boot_is_the_machines(lease, monkeypatch, clock):
    lease.acquire("anna@ops", "run1", 60)
    assert lease.holder().boot_id == boot_id()
    monkeypatch.setattr(lease_file, "boot_id", lambda: "the next boot")
    clock.up = 3.0
    assert lease.live() is not None
    clock.wall += 61
    assert lease.live() is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"owner": 1}', "\0"])
def test_an_unreadable_lease_stops_everybody(lease, tmp_path, content):
    lease.acquire("anna@ops", "run1", 60)
    (tmp_path / "ledger/lease.json").write_text(content)
    with pytest.raises(LeaseError, match="the lease cannot be read"):
        lease.acquire("anna@ops", "run1", 60)


def test_the_lease_file_is_readable_json(lease, tmp_path):
    lease.acquire("anna@ops", "run1", 60)
    assert json.loads((tmp_path / "ledger/lease.json").read_text())["owner"] == "anna@ops"
