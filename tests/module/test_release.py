# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""release, rollout_lock and rollout_info through ansible-playbook on two local host roots."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from playbook import Playbook
from small_fleet import RULES, SmallFleet

RELEASE = {
    "root": "{{ continuity_root }}",
    "host": "{{ inventory_hostname }}",
    "project": "{{ continuity_project }}",
    "startup_config": "{{ continuity_startup_config }}",
    "supervisor": {"kind": "supervisord"},
    "python": sys.executable,
    "address": "{{ continuity_address }}",
    "agent_rules": "{{ continuity_agent_rules }}",
}
HOSTS = ("mainpc", "pc2")


@pytest.fixture
def fleet(tmp_path):
    fleet = SmallFleet(tmp_path / "fleet")
    yield fleet
    fleet.stop()


@pytest.fixture
def playbook(tmp_path, fleet):
    hosts = {
        host: {
            "continuity_root": fleet.root(host),
            "continuity_project": str(fleet.project),
            "continuity_startup_config": str(fleet.configs[host]),
            "continuity_address": fleet.addresses[host],
            "continuity_agent_rules": RULES,
            "continuity_python": sys.executable,
        }
        for host in HOSTS
    }
    return Playbook(tmp_path / "play", hosts)


def serve(fleet, release, run="run1"):
    """Every agent on this release, as a rollout leaves it."""
    for name in HOSTS:
        host = fleet.open(name)
        target = host.releases.load(release)
        previous = host.ledger.state().current
        common = {"run": run, "plan": "p"}
        host.ledger.append("staged", request="q", release=release, previous=previous, digest=target.digest, **common)
        host.ledger.append("armed", deadline=0.0, boot_id="", seconds=0.0, **common)
        host.ledger.append("activated", wave=1, agents=sorted(target.agents), **common)
        host.supervisor.install([agent.unit for agent in target.agents.values()])
        outcomes = host.supervisor.take_over(
            sorted(target.agents),
            lambda agent, slot, host=host: host.releases.point(agent, slot, release),
            timeout=60.0,
        )
        assert all(outcome.ok for outcome in outcomes.values()), outcomes
        host.ledger.append("confirmed", release=release, seconds=1.0, **common)
        host.releases.set_current(release)


def staged_id(ran):
    assert ran.status == 0, ran.output
    (release,) = {result["release"]["id"] for result in ran.results.values()}
    return release


def test_check_mode_writes_nothing_and_says_what_would_happen(fleet, playbook):
    ran = playbook.task("release", RELEASE, "--check", "--diff")
    release = staged_id(ran)
    for host in HOSTS:
        result = ran.results[host]
        assert result["changed"] and not result["converged"]
        assert f"release {release}" in result["changes"]
        assert not os.path.exists(fleet.root(host))
    assert set(ran.results["mainpc"]["release"]["agents"]) == {"Base", "Api", "Worker"}
    assert ran.results["pc2"]["release"]["agents"]["Edge"]["dependencies"] == ["mainpc:Base"]
    assert "code/agents/edge.py" in ran.output
    assert '"kind": "supervisord"' in ran.output


def test_staging_is_complete_and_the_second_time_nothing(fleet, playbook):
    first = playbook.task("release", RELEASE)
    release = staged_id(first)
    assert [first.results[host]["changed"] for host in HOSTS] == [True, True]
    for host in HOSTS:
        assert fleet.open(host).releases.verify(release) == []
        assert os.stat(os.path.join(fleet.root(host), "ledger")).st_mode & 0o777 == 0o700
        assert fleet.open(host).daemon_runs()
        assert first.results[host]["host_state"]["current"] is None
        assert os.access(os.path.join(fleet.root(host), "continuity.pyz"), os.X_OK)
    second = playbook.task("release", RELEASE)
    assert staged_id(second) == release
    assert [second.results[host]["changed"] for host in HOSTS] == [False, False]
    assert [second.results[host]["changes"] for host in HOSTS] == [[], []]
    assert "DEPRECATION" not in second.output and "WARNING" not in second.output


def test_a_fleet_that_runs_the_release_is_converged(fleet, playbook):
    release = staged_id(playbook.task("release", RELEASE))
    serve(fleet, release)
    began = time.monotonic()
    ran = playbook.task("release", RELEASE)
    print(f"converged in {time.monotonic() - began:.2f} s")
    for host in HOSTS:
        result = ran.results[host]
        assert result["differences"] == []
        assert result["converged"] and not result["changed"]
        assert result["host_state"]["current"] == release
        assert {agent["status"] for agent in result["host_state"]["agents"].values()} == {"healthy"}
    fleet.open("pc2").supervisor.stop(["Sink"], timeout=20.0)
    ran = playbook.task("release", RELEASE, "--check")
    assert ran.results["mainpc"]["converged"]
    assert ran.results["pc2"]["differences"] == ["Sink: stopped"]
    info = playbook.task("rollout_info", {"root": "{{ continuity_root }}", "entries": 2, "verify": True})
    assert info.results["mainpc"]["converged"] and info.results["mainpc"]["damage"] == []
    assert info.results["pc2"]["differences"] == ["Sink: stopped"]
    assert [entry["event"] for entry in info.results["pc2"]["ledger"]] == ["activated", "confirmed"]
    assert info.results["pc2"]["ledger_entries"] == 4


def test_one_changed_agent_is_a_new_release_of_which_only_it_differs(fleet, playbook):
    before = playbook.task("release", RELEASE)
    serve(fleet, staged_id(before))
    fleet.change("Api", note="2")
    after = playbook.task("release", RELEASE, "--check", "--diff")
    assert staged_id(after) != staged_id(before)
    differing = {
        name
        for host in HOSTS
        for name, agent in after.results[host]["release"]["agents"].items()
        if agent["fingerprint"] != after.results[host]["host_state"]["agents"][name]["fingerprint"]
    }
    assert differing == {"Api"}
    moved = [line for line in after.output.splitlines() if line[:1] in "+-" and "code/" in line]
    assert [line.split()[-1] for line in moved] == ["code/agents/api.py"] * 4
    assert not after.results["mainpc"]["converged"]


def test_a_damaged_release_is_put_back(fleet, playbook):
    release = staged_id(playbook.task("release", RELEASE))
    damaged = Path(fleet.root("pc2"), "releases", release)
    (damaged / "code/agents/edge.py").write_text("import os\n")
    (damaged / "code/added.py").write_text("")
    (damaged / "code/agents/sink.py").unlink()
    predicted = playbook.task("release", RELEASE, "--check", "--diff")
    assert "code/agents/edge.py: changed" in predicted.output
    assert [predicted.results[host]["changes"] for host in HOSTS] == [[], [f"release {release}"]]
    ran = playbook.task("release", RELEASE)
    assert [ran.results[host]["changes"] for host in HOSTS] == [[], [f"release {release}"]]
    assert fleet.open("pc2").releases.verify(release) == []


def test_units_that_were_edited_are_put_back(fleet, playbook):
    serve(fleet, staged_id(playbook.task("release", RELEASE)))
    edited = Path(fleet.root("mainpc"), "supervisor/conf.d/Api.conf")
    wanted = edited.read_text()
    edited.write_text(wanted.replace("numprocs=2", "numprocs=3"))
    ran = playbook.task("release", RELEASE)
    assert ran.results["mainpc"]["changes"] == [f"unit {edited}"]
    assert edited.read_text() == wanted


def test_the_supervisor_is_started_when_it_does_not_run(fleet, playbook):
    release = staged_id(playbook.task("release", RELEASE))
    fleet.open("pc2").supervisor.stop_daemon()
    predicted = playbook.task("release", RELEASE, "--check")
    assert [predicted.results[host]["changes"] for host in HOSTS] == [[], ["supervisor"]]
    assert not fleet.open("pc2").daemon_runs()
    assert staged_id(playbook.task("release", RELEASE)) == release
    assert fleet.open("pc2").daemon_runs()


def test_an_unfinished_rollout_is_resumed_with_the_release_that_it_staged(fleet, playbook):
    release = staged_id(playbook.task("release", RELEASE))
    host = fleet.open("mainpc")
    digest = host.releases.load(release).digest
    host.ledger.append("staged", run="r", plan="p", request="q", release=release, previous=None, digest=digest)
    fleet.change("Api", note="2")
    fleet.change("Edge", note="2")
    ran = playbook.task("release", {**RELEASE, "resume": True}, "--check")
    assert ran.results["mainpc"]["release"]["id"] == release
    assert ran.results["mainpc"]["host_state"]["unfinished"]["stage"] == "staged"
    assert ran.results["pc2"]["release"]["id"] != release


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"startup_config": "/nowhere.yaml"}, "the startup config cannot be read: No such file or directory"),
        ({"project": "/nowhere"}, "/nowhere: the project is no folder. Set continuity_project"),
        ({"project": ""}, "project is missing. Set continuity_project"),
        ({"supervisor": {"kind": "upstart"}}, "unknown supervisor 'upstart'. Choose one of supervisord, systemd"),
        ({"root": "/etc/hostname/root"}, "/etc/hostname: this is not a folder. Choose another continuity_root"),
        ({"release": "../up"}, "'../up' is not the id of a release"),
        ({"agent_rules": [{"match": ["*"], "probe": {"kind": "gopher"}}]}, "kind is one of http, zmq, tcp"),
        (
            {"agent_rules": [{"match": ["*"], "probe": {"kind": "tcp", "port": "metrics_port"}}]},
            "port 'metrics_port' is neither a number nor",
        ),
        ({"agent_rules": [{"match": ["*"], "sockets": True}]}, "sockets"),
    ],
)
def test_what_cannot_be_staged_is_said_in_one_sentence(fleet, playbook, options, sentence):
    ran = playbook.task("release", {**RELEASE, **options})
    for host in HOSTS:
        assert ran.results[host]["failed"]
        assert sentence in ran.results[host]["msg"]
        assert "Traceback" not in ran.output
        assert not os.path.exists(fleet.root(host))


def test_a_rule_may_hand_over_several_ports_and_let_two_instances_overlap(fleet, playbook):
    rules = [{"match": ["*"], "socket": ["port", "health_check_port"], "overlap": True}]
    ran = playbook.task("release", {**RELEASE, "agent_rules": rules})
    assert ran.status == 0, ran.output
    unit = fleet.open("pc2").releases.load(ran.results["pc2"]["release"]["id"]).agents["Edge"].unit
    assert [socket.rpartition(":")[2] for socket in unit.sockets] == ["7201", "7251"]
    assert unit.overlap
    ran = playbook.task("release", {**RELEASE, "agent_rules": [{"match": ["*"], "socket": "port"}]})
    assert "socket is 'port', expected bool or list" in ran.results["pc2"]["msg"]


def test_a_diff_names_the_release_on_either_side(fleet, playbook):
    first = staged_id(playbook.task("release", RELEASE))
    serve(fleet, first)
    fleet.change("Edge", note="2")
    ran = playbook.task("release", RELEASE, "--check", "--diff")
    (part,) = ran.results["pc2"]["diff"]
    assert part["before_header"] == f"release {first}"
    assert part["after_header"] == f"release {staged_id(ran)}"


def test_an_id_is_never_used_for_two_contents(fleet, playbook):
    assert staged_id(playbook.task("release", {**RELEASE, "release": "v1"})) == "v1"
    fleet.change("Edge", note="2")
    ran = playbook.task("release", {**RELEASE, "release": "v1"})
    assert "release ids are immutable" in ran.results["pc2"]["msg"]


def test_the_lease_is_taken_once_and_given_back(fleet, playbook):
    assert "not the root of a host" in playbook.task("rollout_info", {"root": "/nowhere"}).results["pc2"]["msg"]
    staged_id(playbook.task("release", RELEASE))
    lock = {"root": "{{ continuity_root }}", "owner": "anna@ops", "run": "r1", "lease_seconds": 300}
    assert [playbook.task("rollout_lock", lock, "--check").results[host]["changed"] for host in HOSTS] == [True, True]
    assert fleet.open("pc2").lease.live() is None
    assert playbook.task("rollout_lock", lock).results["pc2"]["lease"]["owner"] == "anna@ops"
    assert [playbook.task("rollout_lock", lock).results[host]["changed"] for host in HOSTS] == [False, False]
    other = playbook.task("rollout_lock", {**lock, "owner": "ben@ops"})
    assert "anna@ops (run r1) may change this host until" in other.results["pc2"]["msg"]
    assert playbook.task("rollout_info", {"root": "{{ continuity_root }}"}).results["pc2"]["lease"]["run"] == "r1"
    assert playbook.task("rollout_lock", {**lock, "state": "absent"}).results["pc2"]["changed"]
    assert not playbook.task("rollout_lock", {**lock, "state": "absent"}).results["pc2"]["changed"]


def test_a_ledger_that_was_tampered_with_is_named(fleet, playbook):
    staged_id(playbook.task("release", RELEASE))
    lock = {"root": "{{ continuity_root }}", "owner": "anna@ops", "run": "r1"}
    assert playbook.task("rollout_lock", lock).status == 0
    ledger = Path(fleet.root("pc2"), "ledger/ledger.jsonl")
    ledger.write_text(ledger.read_text().replace("anna", "hans"))
    for module, options in (("rollout_info", {"root": "{{ continuity_root }}"}), ("release", RELEASE)):
        ran = playbook.task(module, options)
        assert f"{ledger}:1: this entry was changed: its hash does not match" in ran.results["pc2"]["msg"]
        assert not ran.results["mainpc"].get("failed")
