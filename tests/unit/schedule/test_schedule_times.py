# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a set is due, in local time, over the change to summer time too."""

from __future__ import annotations

import shutil
import subprocess
import time
from datetime import datetime
from typing import Iterator

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.schedule.times import Times


@pytest.fixture(params=["UTC", "Europe/Berlin", "Asia/Tokyo", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").timestamp()


@pytest.mark.parametrize(
    ("rule", "now", "due"),
    [
        ("hourly", "2026-02-01 10:00:00", "2026-02-01 10:00:00"),
        ("hourly", "2026-02-01 10:59:59", "2026-02-01 10:00:00"),
        ("hourly", "2026-02-01 00:00:01", "2026-02-01 00:00:00"),
        ("02:00", "2026-02-01 02:00:00", "2026-02-01 02:00:00"),
        ("02:00", "2026-02-01 01:59:59", "2026-01-31 02:00:00"),
        ("02:00", "2026-01-01 00:00:00", "2025-12-31 02:00:00"),
        ("Sun 03:00", "2026-02-01 03:00:00", "2026-02-01 03:00:00"),
        ("Sun 03:00", "2026-02-01 02:59:59", "2026-01-25 03:00:00"),
        ("Sun 03:00", "2026-02-07 23:59:59", "2026-02-01 03:00:00"),
        ("Mon 23:59", "2026-03-01 00:00:00", "2026-02-23 23:59:00"),
    ],
)
def test_the_last_time_that_it_was_due(zone: str, rule: str, now: str, due: str) -> None:
    assert Times.parse(rule).last(at(now)) == at(due), zone


@pytest.mark.parametrize("rule", ["hourly", "02:30", "Sun 02:30"])
def test_it_never_goes_back_and_never_leaves_a_day_out(zone: str, rule: str) -> None:
    """Eight months in uneven steps, with both changes of summer time."""
    times, before = Times.parse(rule), 0.0
    start = at("2026-03-01 00:00:00")
    longest = {"hourly": 3600, "02:30": 90000, "Sun 02:30": 7 * 86400 + 3600}[rule]
    for step in range(3000):
        now = start + step * 7100
        due = times.last(now)
        assert before <= due <= now and now - due <= longest, (zone, time.ctime(now), time.ctime(due))
        before = due


@pytest.mark.parametrize(
    ("rule", "calendar"),
    [("hourly", "*-*-* *:00:00"), ("02:00", "*-*-* 02:00:00"), ("Sun 03:00", "Sun *-*-* 03:00:00")],
)
def test_systemd_understands_it(rule: str, calendar: str) -> None:
    assert Times.parse(rule).on_calendar() == calendar
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    ended = subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("rule", ["", "daily", "24:00", "2:00", "02:60", "Son 03:00", "Sun", "sun 03:00", "02:00\n"])
def test_other_words_are_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        Times.parse(rule)
