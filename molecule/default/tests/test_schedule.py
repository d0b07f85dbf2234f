# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the first rollout: the hosts have timers, and a set runs on them with all 77 agents there."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def systemd(seen: Any) -> None:
    if seen.supervisor != "systemd":
        pytest.skip("this host's supervisor is supervisord: two systemd hosts need root, podman and mmdebstrap")


@pytest.mark.parametrize(
    ("name", "calendar"),
    [("hourly", "*-*-* *:00:00"), ("daily", "*-*-* 02:00:00"), ("weekly", "Sun *-*-* 03:00:00")],
)
def test_each_set_has_a_persistent_timer(seen: Any, name: str, calendar: str) -> None:
    timer = seen.host.service(f"continuity-backup-{name}.timer")
    assert timer.is_enabled and timer.is_running
    shown = seen.host.run(
        f"systemctl show --property=Persistent,TimersCalendar,NextElapseUSecRealtime continuity-backup-{name}.timer"
    ).stdout
    assert "Persistent=yes" in shown and f"OnCalendar={calendar}" in shown
    assert "NextElapseUSecRealtime=\n" not in shown


def test_a_set_runs_without_a_controller(seen: Any) -> None:
    started = seen.host.run("systemctl start continuity-backup-daily.service")
    note = json.loads(seen.host.file(f"{seen.root}/schedule/daily.last.json").content_string)
    assert started.rc == 0, note
    assert note["status"] == "SUCCESS", note
    assert seen.host.run(f"cd {note['folder']} && sha256sum --check --quiet SHA256SUMS").rc == 0
    (states,) = (
        json.loads(seen.host.file(path).content_string)
        for path in seen.host.run(f"ls {note['folder']}/database/agent_states_*.json").stdout.split()
    )
    assert len(states["hosts"][seen.name]["agents"]) == seen.expected
    assert {agent["state"]["process"] for agent in states["hosts"][seen.name]["agents"].values()} == {"running"}
