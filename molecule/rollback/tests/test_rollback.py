# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three ways in which a rollout goes wrong; each time the whole fleet is back on the release it left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from faults import boot, cable_cut, inside, power_lost

ROLLBACK_OBJECTIVE = 300.0
DEADMAN_SECONDS = 40
PROJECT = Path(__file__).resolve().parents[3] / "inventories/demo/project"
CHANGED_BY_ALL = "common/core/base_agent.py"
"""The file that most agents import: a change of it touches them."""


@pytest.fixture(scope="module")
def previous(fleet: dict[str, Any]) -> dict[str, str]:
    """The release that each host runs before anything goes wrong."""
    confirmed = {name: seen.look()["confirmed"] for name, seen in fleet.items()}
    assert None not in confirmed.values()
    return confirmed


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The demo project with a change that reaches most agents."""
    copy = tmp_path / "project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / CHANGED_BY_ALL).open("a") as shared:
        shared.write(f"\nCHANGED = {tmp_path.name!r}\n")
    return copy


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until ``condition`` holds; fails when it never does."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(0.5)


def until_both_change(rollout: Any, fleet: dict[str, Any], before: dict[str, int], log: Path) -> None:
    """Wait until agents of both hosts are being replaced by this rollout."""

    def changing() -> bool:
        assert rollout.poll() is None, f"the rollout ended too early:\n{log.read_text()[-3000:]}"
        return all(activated(seen, before[name]) for name, seen in fleet.items())

    until(changing, "both hosts change", 300)


def activated(seen: Any, before: int) -> bool:
    return any(entry["event"] == "activated" for entry in seen.look()["ledger"][before:])


def seconds_of_rollback(seen: Any, before: int) -> float:
    taken_back = [entry for entry in seen.look()["ledger"][before:] if entry["event"] == "rolled_back"]
    assert taken_back and taken_back[-1]["ok"]
    return float(taken_back[-1]["seconds"])


def test_a_bad_release_is_taken_back_on_both_hosts(
    fleet: dict[str, Any], controller: Any, previous: dict[str, str], project: Path, tmp_path: Path
) -> None:
    """An agent of the last wave dies at its start: the waves before it, and the other host, go back too."""
    agents = fleet["MainPC"].look()["agents"]
    last = max(agents, key=lambda name: (agents[name]["layer"], name))
    script = project / agents[last]["script_path"]
    script.write_text(f"raise SystemExit('{last} cannot start')\n")
    before = {name: len(seen.look()["ledger"]) for name, seen in fleet.items()}

    played = controller.play("rollout", log=tmp_path / "log", continuity_project=str(project))

    assert played.status != 0
    assert last in played.output
    for name, seen in fleet.items():
        seen.is_wholly_on(previous[name])
        entries = seen.look()["ledger"][before[name] :]
        assert "activated" in [entry["event"] for entry in entries], f"{name} was never touched"
        assert "quarantined" in [entry["event"] for entry in entries]
        took = seconds_of_rollback(seen, before[name])
        assert took < ROLLBACK_OBJECTIVE
        print(f"\nbad release: {name} taken back in {took:.1f} s (whole run {played.seconds:.0f} s)", end="")


def test_a_host_that_becomes_unreachable_takes_itself_back(
    fleet: dict[str, Any], controller: Any, previous: dict[str, str], project: Path, tmp_path: Path
) -> None:
    """PC2's cable is pulled while both hosts change: MainPC goes back at once, PC2 by its dead man."""
    lost, other = fleet["PC2"], fleet["MainPC"]
    container = lost.variables.get("testbed_container")
    if container is None:
        pytest.skip("two roots of one machine cannot lose each other: needs root, podman and mmdebstrap")
    before = {name: len(seen.look()["ledger"]) for name, seen in fleet.items()}
    rollout = controller.start(
        "rollout",
        log=tmp_path / "log",
        continuity_project=str(project),
        continuity_bake_seconds=6,
        continuity_deadman_seconds=DEADMAN_SECONDS,
    )
    try:
        until_both_change(rollout, fleet, before, tmp_path / "log")
        with cable_cut(container):
            cut = time.monotonic()
            assert rollout.wait(300) != 0
            other.is_wholly_on(previous["MainPC"])
            print(f"\nunreachable peer: MainPC back {time.monotonic() - cut:.1f} s after the cut", end="")

            def taken_back() -> bool:
                lines = inside(container, "cat", f"{lost.root}/ledger/ledger.jsonl").splitlines()
                return any(json.loads(line)["event"] == "rolled_back" for line in lines[before["PC2"] :])

            until(taken_back, "PC2 takes itself back", ROLLBACK_OBJECTIVE)
            print(f"\nunreachable peer: PC2 back by its dead man {time.monotonic() - cut:.1f} s after the cut", end="")
    finally:
        if rollout.poll() is None:
            os.killpg(rollout.pid, signal.SIGKILL)
    for name, seen in fleet.items():
        seen.is_wholly_on(previous[name])
        assert seconds_of_rollback(seen, before[name]) < ROLLBACK_OBJECTIVE


def test_a_killed_controller_leaves_no_host_in_between(
    fleet: dict[str, Any], controller: Any, previous: dict[str, str], project: Path, tmp_path: Path
) -> None:
    """SIGKILL while both hosts change: each goes back within its timer, and the next run finds peace."""
    before = {name: len(seen.look()["ledger"]) for name, seen in fleet.items()}
    rollout = controller.start(
        "rollout",
        log=tmp_path / "log",
        continuity_project=str(project),
        continuity_bake_seconds=6,
        continuity_deadman_seconds=DEADMAN_SECONDS,
    )
    try:
        until_both_change(rollout, fleet, before, tmp_path / "log")
    finally:
        os.killpg(rollout.pid, signal.SIGKILL)
    rollout.wait()
    killed = time.monotonic()

    for name, seen in fleet.items():

        def taken_back(seen: Any = seen, name: str = name) -> bool:
            return any(entry["event"] == "rolled_back" for entry in seen.look()["ledger"][before[name] :])

        until(taken_back, f"{name} takes itself back", DEADMAN_SECONDS + 60)
        took = seconds_of_rollback(seen, before[name])
        print(
            f"\nkilled controller: {name} back {time.monotonic() - killed:.1f} s after it ({took:.1f} s of work)",
            end="",
        )
        seen.is_wholly_on(previous[name])

    again = controller.play("rollout", log=tmp_path / "again")
    assert again.status == 0, again.output[-2000:]
    assert again.output.count("changed=0") == len(fleet)


def test_a_host_that_loses_power_takes_itself_back_when_it_boots(
    fleet: dict[str, Any], controller: Any, previous: dict[str, str], project: Path, tmp_path: Path
) -> None:
    """PC2's power goes while both hosts change: MainPC goes back at once, PC2 by its boot check."""
    lost, other = fleet["PC2"], fleet["MainPC"]
    container = lost.variables.get("testbed_container")
    if container is None:
        pytest.skip("two roots of one machine cannot lose power alone: needs root, podman and mmdebstrap")
    before = {name: len(seen.look()["ledger"]) for name, seen in fleet.items()}
    rollout = controller.start(
        "rollout", log=tmp_path / "log", continuity_project=str(project), continuity_bake_seconds=6
    )
    try:
        until_both_change(rollout, fleet, before, tmp_path / "log")
        power_lost(container)
        assert rollout.wait(300) != 0
    finally:
        if rollout.poll() is None:
            os.killpg(rollout.pid, signal.SIGKILL)
    other.is_wholly_on(previous["MainPC"])
    boot(container, lost.variables["ansible_host"])
    booted = time.monotonic()

    def home() -> bool:
        now = lost.look()
        return len(now["processes"]) == lost.expected and {one["release"] for one in now["processes"]} == {
            previous["PC2"]
        }

    until(home, "PC2 is back on the release before", 60)
    print(f"\npower lost: PC2 back {time.monotonic() - booted:.1f} s after it had booted", end="")
    lost.is_wholly_on(previous["PC2"])
    assert any(entry["event"] == "rolled_back" for entry in lost.look()["ledger"][before["PC2"] :])
