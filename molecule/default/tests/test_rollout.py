# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the first rollout and a second one without a change: all 77 agents run, on what they should."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest


@pytest.fixture
def now(seen: Any) -> dict[str, Any]:
    return seen.look()


def test_every_agent_runs_the_confirmed_release(seen: Any, now: dict[str, Any]) -> None:
    assert now["confirmed"] is not None
    assert len(now["agents"]) == seen.expected
    assert sorted(process["agent"] for process in now["processes"]) == sorted(now["agents"])
    seen.is_wholly_on(now["confirmed"])


def test_agents_work_in_their_own_state_folder(seen: Any, now: dict[str, Any]) -> None:
    wrong = {
        process["agent"]: process["directory"]
        for process in now["processes"]
        if process["directory"] != f"{seen.root}/state/{process['agent']}"
    }
    assert wrong == {}


def test_every_declared_socket_is_open_on_the_hosts_own_address(seen: Any, now: dict[str, Any]) -> None:
    declared = {address for agent in now["agents"].values() for address in agent["unit"]["sockets"]}
    assert declared
    assert declared - set(now["listening"]) == set()
    assert {address.rpartition(":")[0] for address in declared} == {seen.variables["continuity_address"]}


def test_every_agent_answers_when_asked(now: dict[str, Any]) -> None:
    kinds = {agent["probe"]["kind"] for agent in now["agents"].values()}
    assert {"http", "zmq"} <= kinds
    assert {agent: word for agent, word in now["answers"].items() if word.startswith("error")} == {}


def test_links_point_at_the_release(now: dict[str, Any]) -> None:
    assert {agent: slots for agent, slots in now["links"].items() if now["current"] not in slots.values()} == {}
    assert set(now["links"]) == set(now["agents"])


def test_the_ledger_is_one_chain_that_ends_confirmed(now: dict[str, Any]) -> None:
    previous = "0" * 64
    for number, entry in enumerate(now["ledger"], start=1):
        rest = {key: value for key, value in entry.items() if key != "hash"}
        canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
        assert entry["seq"] == number
        assert entry["previous"] == previous
        assert entry["hash"] == hashlib.sha256(canonical.encode()).hexdigest()
        previous = entry["hash"]
    events = [entry["event"] for entry in now["ledger"]]
    assert [event for event in events if event in ("staged", "armed", "activated", "verified", "confirmed")][-1] == (
        "confirmed"
    )
    assert events.count("confirmed") == 1
    assert "rolled_back" not in events


def test_the_release_is_what_it_says(seen: Any, now: dict[str, Any]) -> None:
    document = json.loads(seen.host.file(f"{seen.root}/releases/{now['current']}/release.json").content_string)
    sums = seen.host.run(
        f"cd {seen.root}/releases/{now['current']} && find . -type f ! -name release.json -exec sha256sum {{}} +"
    )
    assert sums.rc == 0
    actual = {line.split("  ./", 1)[1]: line.split()[0] for line in sums.stdout.splitlines()}
    assert actual == {path: file["sha256"] for path, file in document["files"].items()}


def test_systemd_knows_every_agent_and_no_unit_failed(seen: Any, now: dict[str, Any]) -> None:
    if seen.supervisor != "systemd":
        pytest.skip("this host's supervisor is supervisord: two systemd hosts need root, podman and mmdebstrap")
    listed = seen.host.run("systemctl list-units --plain --no-legend --all 'agent-*'")
    rows = [line.split(None, 4) for line in listed.stdout.splitlines()]
    active = {row[0] for row in rows if row[2] == "active"}
    sockets = {f"agent-{name}.socket" for name, agent in now["agents"].items() if agent["unit"]["sockets"]}
    assert sockets - active == set()
    for name in now["agents"]:
        serving = {f"agent-{name}@{slot}.service" for slot in ("blue", "green")} & active
        assert len(serving) == 1, name
        assert seen.host.service(serving.pop()).is_running
    assert [row[0] for row in rows if row[2] == "failed"] == []
    assert seen.host.run("systemctl show --property=NeedDaemonReload --value 'agent-*'").stdout.count("yes") == 0


def test_the_boot_check_is_installed(seen: Any) -> None:
    if seen.supervisor != "systemd":
        pytest.skip("this host's supervisor is supervisord: two systemd hosts need root, podman and mmdebstrap")
    assert seen.host.service("continuity-boot-check").is_enabled
