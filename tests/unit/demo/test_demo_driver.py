# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What make demo relies on: its edits, its own reading of the fleet, how it looks at states and prints."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
from pathlib import Path
from types import ModuleType

import pytest
from demo_agents import DEMO, PROJECT, Running

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Fleet


@pytest.fixture(autouse=True)
def _demo_is_importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(DEMO))
    monkeypatch.setenv("CONTINUITY_DEMO", str(tmp_path / "demo"))
    monkeypatch.delenv("CONTINUITY_DEMO_BEGUN", raising=False)


@pytest.fixture
def demo() -> ModuleType:
    import demo as module

    return module


@pytest.fixture
def demo_fleet() -> ModuleType:
    pytest.importorskip("yaml")
    pytest.importorskip("zmq")
    import demo_fleet as module

    return module


def edited(tmp_path: Path, edit: tuple[str, str, str]) -> Path:
    copy = tmp_path / "project"
    shutil.copytree(PROJECT, copy)
    file, old, new = edit
    text = (copy / file).read_text(encoding="utf-8")
    assert text.count(old) == 1
    (copy / file).write_text(text.replace(old, new), encoding="utf-8")
    return copy


@pytest.mark.parametrize("name", ["MainPC:ServiceRegistry", "MainPC:STTService", "PC2:TieredResponder"])
def test_the_bad_edit_spoils_health_and_nothing_else(
    name: str, demo: ModuleType, fleet: Fleet, address: str, tmp_path: Path
) -> None:
    agent = next(one for one in fleet if str(one.id) == name)
    one = Running(agent, address, tmp_path, project=edited(tmp_path, demo.SLIP)).wait_ready()
    try:
        assert one.get("/")[0] == 200
        assert one.get("/health", one.health_port)[0] == 500
    finally:
        one.stop()


def test_the_good_edit_leaves_an_agent_well(demo: ModuleType, fleet: Fleet, address: str, tmp_path: Path) -> None:
    agent = next(one for one in fleet if str(one.id) == "MainPC:ServiceRegistry")
    one = Running(agent, address, tmp_path, project=edited(tmp_path, demo.IMPROVEMENT)).wait_ready()
    try:
        assert one.health()["status"] == "ok"
    finally:
        one.stop()


def test_the_demo_reads_the_same_fleet_as_the_collection(demo_fleet: ModuleType, fleet: Fleet) -> None:
    declared = {
        str(agent.id): (agent.port.number, agent.health_check_port.number)
        for agent in fleet
        if agent.port and agent.health_check_port
    }
    assert {agent.id: (agent.port, agent.health_port) for agent in demo_fleet.declared_agents()} == declared
    kinds = [(agent.service_kind, agent.health_kind) for agent in demo_fleet.declared_agents()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        ("http", "http"): 63,
        ("http", "zmq"): 11,
        ("zmq", "http"): 3,
    }


def test_a_broken_state_is_seen(demo_fleet: ModuleType, tmp_path: Path) -> None:
    for name in ("good", "torn", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "good/state.json").write_text(json.dumps({"beats": 3}))
    (tmp_path / "torn/state.json").write_text('{"beats": ')
    for name in ("good", "empty"):
        database = sqlite3.connect(tmp_path / name / "state.sqlite")
        database.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, value NOT NULL)")
        if name == "good":
            database.execute("INSERT INTO facts VALUES ('beats', 3)")
        database.commit()
        database.close()
    sound, broken = demo_fleet.sound_states(tmp_path)
    assert sound == 2
    assert sorted(Path(line.partition(":")[0]).parent.name for line in broken) == ["empty", "torn"]


def test_a_socket_that_somebody_holds_is_named(
    demo_fleet: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from demo_agents import listen

    monkeypatch.setattr(demo_fleet, "ADDRESSES", {"MainPC": "127.76.1.1", "PC2": "127.76.1.2"})
    with listen("127.76.1.2", 7140):
        taken = demo_fleet.DemoFleet(tmp_path).taken_sockets()
    assert taken == ["127.76.1.2:7140 (Address already in use)"]


def test_each_step_is_one_line_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    from demo_console import Console

    console = Console(2)
    console.begin("tools")
    assert capsys.readouterr().out == "[   0s] 1/2 tools           "
    console.note("never seen where the output is no terminal")
    console.done("ready")
    console.begin("fleet")
    console.failed("nobody answers")
    assert re.fullmatch(
        r"ready \(0\.\ds\)\n\[   0s\] 2/2 fleet           FAILED: nobody answers\n", capsys.readouterr().out
    )


def test_a_program_that_fails_is_shown_with_its_log_and_how_to_run_it_again(
    demo: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from demo_console import Console
    from demo_tools import DemoFailed, Tools

    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "demo").mkdir()
    tools = Tools(tmp_path / "demo", lambda text: None)
    with pytest.raises(DemoFailed) as failure:
        tools.run("broken", [sys.executable, "-c", "print('\\n'.join(map(str, range(40)))); raise SystemExit(3)"])
    console = Console(1)
    console.begin("broken")
    demo.show_failure(console, failure.value, tools)
    shown = capsys.readouterr().out
    assert "FAILED: broken ended with status 3" in shown
    assert "  | 39\n" in shown
    assert "  | 25\n" in shown
    assert "  | 24\n" not in shown
    assert str(tmp_path / "demo/demo-logs/broken.log") in shown
    assert "Again, only this: CONTINUITY_DEMO=" in shown


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("status", 2)])
def test_an_argument_that_it_does_not_know_starts_nothing(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argument: str, status: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["demo.py", argument])
    assert demo.main() == status
    assert "usage: demo.py [stop]" in capsys.readouterr().out
    assert not demo.FOLDER.exists()
