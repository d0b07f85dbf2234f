# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks rollout, rollback and status on two host roots, as an operator runs them.

The tests of this file share one fleet and run in their order; each begins and ends with every agent healthy.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Iterator

import pytest
from small_fleet import AGENTS, SmallFleet

EVERYONE = [agent for agents in AGENTS.values() for agent in agents]


class Operator:
    """Runs playbooks on a fleet; ``said`` is all that the last one printed."""

    def __init__(self, fleet: SmallFleet) -> None:
        self.fleet = fleet
        self.said = ""

    def run(self, playbook: str, *arguments: str) -> int:
        ended = subprocess.run(
            self.fleet.command(playbook, *arguments),
            env=self.fleet.environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.said = ended.stdout + ended.stderr
        return ended.returncode

    def changed(self) -> int:
        return sum(int(part.split("=")[1]) for part in self.said.split() if part.startswith("changed="))

    def start(self, playbook: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.fleet.command(playbook, *arguments),
            env=self.fleet.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def events(self, host: str) -> list[str]:
        return [entry["event"] for entry in self.fleet.open(host).ledger.entries()]


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    fleet = SmallFleet(folder)
    fleet.write_inventory()
    try:
        yield Operator(fleet)
    finally:
        fleet.stop()
        shutil.rmtree(folder)


def wait_for(condition, seconds: float, what: str) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - begun


def test_a_first_rollout_starts_the_fleet_and_a_second_run_changes_nothing(operator):
    assert operator.run("rollout") == 0, operator.said
    assert operator.fleet.notes() == dict.fromkeys(EVERYONE, "1")
    assert operator.run("rollout") == 0, operator.said
    assert "nothing to do" in operator.said
    assert operator.changed() == 0
    assert operator.run("status") == 0, operator.said
    assert "3 of 3 agents answer well" in operator.said


def test_check_mode_shows_the_plan_and_writes_nothing(operator):
    fleet = operator.fleet
    fleet.change("Api", note="2")
    before = {path: path.stat().st_mtime_ns for host in AGENTS for path in _kept(Path(fleet.root(host)))}
    assert operator.run("rollout", "--check", "--diff") == 0, operator.said
    assert "mainpc:Api  changed" in operator.said
    assert "wave 1: 1 agent (" in operator.said
    assert {path: path.stat().st_mtime_ns for host in AGENTS for path in _kept(Path(fleet.root(host)))} == before
    assert fleet.notes() == dict.fromkeys(EVERYONE, "1")


def _kept(root: Path) -> list[Path]:
    """What a check must not touch: everything but what running agents write themselves."""
    kept = [root / "host.json", root / "continuity.pyz", *(root / "ledger").rglob("*"), *(root / "releases").rglob("*")]
    return [*kept, *(root / "agents").rglob("*"), *(root / "supervisor").rglob("*")]


def test_a_good_release_touches_only_what_changed(operator):
    assert operator.run("rollout") == 0, operator.said
    assert operator.fleet.notes() == {**dict.fromkeys(EVERYONE, "1"), "Api": "2"}
    assert "brief interruptions: none" in operator.said
    assert operator.run("rollout") == 0
    assert operator.changed() == 0


def test_a_bad_release_is_caught_at_the_canary_and_taken_back_everywhere(operator):
    notes = operator.fleet.notes()
    for agent in EVERYONE:
        operator.fleet.change(agent, note="bad", status="error")
    assert operator.run("rollout") == 2
    assert "was taken back in" in operator.said
    assert "wave 1: " in operator.said
    assert "not healthy within 6 s" in operator.said
    assert "unreachable" not in operator.said.partition("PLAY RECAP")[0]
    assert "not reached" not in operator.said
    reason = operator.fleet.open("mainpc").ledger.entries()[-2]["reason"]
    assert reason.startswith("pc2: wave 1: "), "the host that was well says whose fault it was"
    assert operator.fleet.notes() == notes
    activated = [host for host in AGENTS for event in operator.events(host)[-8:] if event == "activated"]
    assert activated == ["pc2"], "only the canary was touched"
    assert operator.run("rollout") == 2
    assert "quarantined" in operator.said
    assert operator.run("rollback") == 0
    assert "was taken back already" in operator.said
    for agent in EVERYONE:
        operator.fleet.change(agent, note=notes[agent])


def test_the_rollback_playbook_takes_the_last_rollout_back_once(operator):
    notes = operator.fleet.notes()
    operator.fleet.change("Worker", note="3")
    assert operator.run("rollout") == 0, operator.said
    assert "Worker 0." in operator.said, "the interruption of an agent without socket is told"
    assert operator.run("rollback", "--check") == 0, operator.said
    assert "would be replaced; nothing was done" in operator.said
    assert '"continuity_result": "unchanged"' in operator.said
    assert operator.fleet.notes() != notes
    assert operator.run("rollback", "-e", "continuity_rollback_quarantine=false") == 0, operator.said
    assert operator.fleet.notes() == notes
    assert operator.run("rollback") == 0
    assert operator.changed() == 0


def test_a_killed_controller_is_resumed_by_the_same_request_and_refused_for_another(operator):
    operator.fleet.change("Api", note="4")
    operator.fleet.change("Sink", note="4")
    controller = operator.start("rollout")
    wait_for(lambda: "activated" in operator.events("pc2")[-4:], 120, "the first wave")
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    assert operator.run("rollout", "-e", "continuity_bake_seconds=7") == 2
    assert "a rollout is unfinished" in operator.said
    assert operator.run("status") == 0
    assert "UNFINISHED" in operator.said
    point = operator.fleet.open("pc2").ledger.state().unfinished.restore_point
    assert operator.run("rollout") == 0, operator.said
    assert "resume: going on with an unfinished rollout" in operator.said
    assert f"Restore point: {point}." in operator.said, "the one that was taken, not one of this run"
    assert list((Path(operator.fleet.root("pc2")) / "repository").rglob("*")), "and it was taken"
    notes = operator.fleet.notes()
    assert (notes["Api"], notes["Sink"]) == ("4", "4")


def test_a_host_that_somebody_else_holds_is_not_touched_and_nothing_is_said_to_be_taken_back(operator):
    operator.fleet.change("Sink", note="8")
    held, other = operator.fleet.open("pc2").lease, operator.fleet.open("mainpc").lease
    held.acquire("somebody", "else", 120)
    assert operator.run("rollout") == 2
    assert "somebody (run else) may change this host until" in operator.said
    assert "taken back" not in operator.said.lower()
    assert other.live() is None, "given back"
    assert held.release("somebody", "else")
    operator.fleet.change("Sink", note="4")


def test_who_loses_a_host_to_another_run_does_not_say_that_it_was_taken_back(operator):
    notes = operator.fleet.notes()
    operator.fleet.change("Sink", note="8")
    rollout = subprocess.Popen(
        operator.fleet.command("rollout", "--skip-tags", "snapshot", "-e", "continuity_bake_seconds=30"),
        env=operator.fleet.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: operator.fleet.notes()["Sink"] == "8", 120, "the first wave")
    host = operator.fleet.open("pc2")
    assert host.ledger.state().unfinished.restore_point is None, "none was taken, so none is named"
    lease = host.lease
    lease.acquire(lease.holder().owner, "another", 60)
    said = rollout.communicate(timeout=120)[0]
    assert rollout.returncode == 2
    assert "WAS NOT TAKEN BACK on pc2." in said
    assert '"continuity_result": "failed"' in said
    assert lease.release(lease.holder().owner, "another")
    assert operator.run("rollback", "-e", "continuity_rollback_quarantine=false") == 0, operator.said
    assert operator.fleet.notes() == notes
    operator.fleet.change("Sink", note="4")


def test_a_host_goes_back_by_itself_when_nobody_confirms(operator):
    notes = operator.fleet.notes()
    operator.fleet.change("Api", note="5")
    operator.fleet.change("Edge", note="5")
    controller = operator.start("rollout", "-e", "continuity_deadman_seconds=8", "-e", "continuity_bake_seconds=60")
    wait_for(lambda: operator.fleet.notes()["Edge"] == "5", 120, "the canary")
    _kill_with_modules(controller)
    # bake time and dead man are over; the bake time is added to give a watching controller its time
    waited = wait_for(lambda: operator.fleet.notes() == notes, 90, "the dead man")
    wait_for(lambda: operator.events("pc2")[-1] == "rolled_back", 20, "the ledger")
    assert waited < 60 + 8 + 20
    last = operator.fleet.open("pc2").ledger.entries()[-1]
    assert "nobody confirmed" in last["reason"]
    assert operator.run("rollout") == 0, operator.said
    assert operator.fleet.notes() == {**notes, "Api": "5", "Edge": "5"}


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh to lose a host")
def test_a_host_that_is_lost_is_named_and_goes_back_by_itself(operator):
    notes = operator.fleet.notes()
    cut = operator.fleet.folder / "cut"
    operator.fleet.change("Base", note="7")
    operator.fleet.change("Sink", note="7")
    lost = f"{{{{ 'ssh' if inventory_hostname == 'mainpc' and '{cut}' is exists else 'local' }}}}"
    rollout = subprocess.Popen(
        operator.fleet.command(
            "rollout",
            *("-e", json.dumps({"ansible_connection": lost, "ansible_host": "127.0.0.1", "ansible_port": 1})),
            *("-e", "continuity_deadman_seconds=8", "-e", "continuity_bake_seconds=5"),
        ),
        env=operator.fleet.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: operator.fleet.notes()["Base"] == "7", 180, "the second wave")
    cut.touch()
    said = rollout.communicate(timeout=200)[0]
    cut.unlink()
    assert rollout.returncode != 0
    assert "mainpc was not reached: it goes back by itself within 8 s" in said
    assert "pc2 was not reached" not in said
    reason = operator.fleet.open("pc2").ledger.entries()[-2]["reason"]
    assert reason.startswith("mainpc: "), reason
    wait_for(lambda: operator.fleet.notes() == notes, 120, "mainpc's dead man")
    wait_for(lambda: "rolled_back" in operator.events("mainpc")[-2:], 20, "the ledger")
    for host in AGENTS:
        opened = operator.fleet.open(host)
        assert opened.releases.staged()[-1] not in opened.ledger.state().quarantined, "nobody judged it"
    assert operator.run("rollout", "-e", "continuity_deadman_seconds=60") == 0, operator.said
    assert operator.fleet.notes() == {**notes, "Base": "7", "Sink": "7"}


def _kill_with_modules(controller: subprocess.Popen[bytes]) -> None:
    """The controller, its workers and the modules that they started: the whole machine is gone."""
    family = [controller.pid]
    for pid in family:
        family += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    controller.wait()


def test_hosts_outside_of_the_limit_stay_as_they_are(operator):
    notes = operator.fleet.notes()
    operator.fleet.change("Base", note="6")
    operator.fleet.change("Sink", note="6")
    assert operator.run("rollout", "--limit", "pc2") == 0, operator.said
    assert "hosts outside of --limit stay as they are: mainpc" in operator.said
    assert operator.fleet.notes() == {**notes, "Sink": "6"}
    assert operator.run("rollout") == 0, operator.said
    assert operator.fleet.notes() == {**notes, "Sink": "6", "Base": "6"}


def test_status_names_what_is_damaged_and_the_next_run_puts_it_back(operator):
    host = operator.fleet.open("pc2")
    damaged = Path(host.releases.path(host.ledger.state().current)) / "code/shared/serve.py"
    damaged.write_text("damaged\n")
    assert operator.run("status", "-e", "continuity_status_verify=true") == 0, operator.said
    assert "damaged: code/shared/serve.py: changed" in operator.said
    assert '"continuity_result": "differs"' in operator.said
    assert " confirmed " in operator.said, "the last events, each with what it is about"
    assert operator.run("rollout") == 0, operator.said
    assert operator.run("status", "-e", "continuity_status_verify=true") == 0, operator.said
    assert "damaged" not in operator.said
    assert '"continuity_result": "as it should be"' in operator.said
