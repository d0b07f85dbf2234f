# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots a policy keeps: rules, protections, and clocks that lie."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import timestamp
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.retention import (
    Candidate,
    Policy,
    Retention,
    Surroundings,
    judge,
    length,
    refusals_by_name,
)

START = datetime(2026, 1, 1, 0, 30, tzinfo=timezone.utc).timestamp()
HOUR = 3600.0
DAY = 24 * HOUR


def snapshot(sequence: int, time: float, host: str = "pc2", tags: tuple[str, ...] = (), point: Optional[str] = None):
    digest = hashlib.sha256(f"{host}{sequence}".encode()).hexdigest()
    return Candidate(digest, host, sequence, timestamp(time), tags, point)


def series(count: int, step: float) -> list[Candidate]:
    return [snapshot(number + 1, START + number * step) for number in range(count)]


def kept(snapshots: list[Candidate], now: float = START + 1000 * DAY, **rules: Any) -> dict[int, list[str]]:
    around = Surroundings(
        now,
        past=rules.pop("past", {}),
        pinned=frozenset(rules.pop("pinned", ())),
        rollouts=frozenset(rules.pop("rollouts", ())),
    )
    schedules, allow = rules.pop("schedules", {}), frozenset(rules.pop("allow", ()))
    verdicts = judge(snapshots, Retention(Policy(**rules), schedules, allow), around)
    return {one.snapshot.sequence: one.reasons for one in verdicts if one.kept}


def test_each_rule_keeps_the_newest_of_its_periods() -> None:
    hourly = series(24 * 40, HOUR)
    assert list(kept(hourly, last=3)) == [960, 959, 958]
    assert list(kept(hourly, hourly=4)) == [960, 959, 958, 957]
    assert list(kept(hourly, daily=3)) == [960, 936, 912]
    # 9 February 2026 is the last day, a Monday: its week, and those that ended on Sundays before.
    assert list(kept(hourly, weekly=3)) == [960, 936, 768]
    assert list(kept(hourly, monthly=2)) == [960, 744]
    assert kept(hourly, daily=2, hourly=1) == {960: ["hourly snapshot", "daily snapshot"], 936: ["daily snapshot"]}
    assert len(kept(hourly, within="2d")) == 49
    assert len(kept(hourly, hourly=-1)) == 960


def test_while_there_are_fewer_than_asked_the_oldest_stays() -> None:
    daily = series(10, DAY)
    assert kept(daily, yearly=3) == {10: ["yearly snapshot"], 1: ["oldest yearly snapshot"]}
    assert kept(daily, monthly=1) == {10: ["monthly snapshot"]}


def test_weeks_at_the_turn_of_a_year_are_iso_weeks() -> None:
    turn = [snapshot(n + 1, datetime(2026, 12, 27 + n, 12, tzinfo=timezone.utc).timestamp()) for n in range(3)]
    turn.append(snapshot(4, datetime(2027, 1, 2, tzinfo=timezone.utc).timestamp()))
    assert list(kept(turn, weekly=2)) == [4, 1]


def test_schedules_have_rules_of_their_own() -> None:
    hourly = [snapshot(2 * n + 1, START + n * HOUR, tags=("hourly",)) for n in range(50)]
    weekly = [snapshot(2 * n + 2, START + n * HOUR + 1, tags=("weekly",)) for n in range(50)]
    plain = [snapshot(200 + n, START + 60 * HOUR + n, tags=("other",)) for n in range(3)]
    found = kept([*hourly, *weekly, *plain], schedules={"hourly": Policy(last=2), "weekly": Policy(weekly=1)}, last=1)
    assert found == {
        202: ["last snapshot"],
        100: ["weekly: weekly snapshot"],
        99: ["hourly: last snapshot"],
        97: ["hourly: last snapshot"],
    }
    untouched = kept([*hourly, *plain], schedules={"hourly": Policy(last=1)})
    assert untouched == {99: ["hourly: last snapshot"], **{n: ["no rule"] for n in (202, 201, 200)}}
    assert list(kept(hourly[:3], tags=("hourly",))) == [5, 3, 1]


def test_hosts_are_judged_alone_and_restore_points_as_a_whole() -> None:
    mine = [snapshot(n, START + n * DAY, point=f"rp-{n}") for n in range(1, 4)]
    theirs = [snapshot(n, START + n * DAY, host="mainpc", point=f"rp-{n - 1}") for n in range(1, 5)]
    verdicts = judge([*mine, *theirs], Retention(Policy(last=1)), Surroundings(START + 99 * DAY))
    assert [(one.snapshot.host, one.snapshot.sequence, one.reasons) for one in verdicts if one.kept] == [
        ("mainpc", 4, ["last snapshot"]),
        ("pc2", 3, ["last snapshot"]),
    ]
    theirs.append(snapshot(5, START + 5 * DAY, host="mainpc"))
    verdicts = judge([*mine, *theirs], Retention(Policy(last=1)), Surroundings(START + 99 * DAY))
    assert [(one.snapshot.host, one.snapshot.sequence, one.reasons) for one in verdicts if one.kept] == [
        ("mainpc", 5, ["last snapshot"]),
        ("mainpc", 4, ["restore point kept for pc2"]),
        ("pc2", 3, ["last snapshot"]),
    ]


def test_what_is_protected_stays_until_it_is_said() -> None:
    daily = [snapshot(n, START + n * DAY, tags=("nightly",), point=f"rp-{n}") for n in range(1, 6)]
    assert kept(daily, schedules={"nightly": Policy(tags=("none",))}) == {5: ["last of its host"]}
    assert kept(daily, schedules={"nightly": Policy(tags=("none",))}, allow=["last"]) == {}
    assert kept(daily, last=1, pinned=[daily[1].digest], rollouts=["rp-1"]) == {
        5: ["last snapshot"],
        2: ["pinned"],
        1: ["a rollout relies on it"],
    }
    assert list(kept(daily, last=1, pinned=[daily[1].digest], rollouts=["rp-1"], allow=["rollout", "pinned"])) == [5, 2]
    around = Surroundings(START, pinned=frozenset([daily[1].digest]), rollouts=frozenset(["rp-1"]))
    refused = refusals_by_name(daily, daily, frozenset(), around)
    assert refused == [
        f"{daily[0].digest[:12]} belongs to rp-1, on which a rollout relies",
        f"{daily[1].digest[:12]} is pinned",
        "pc2 would be left without a snapshot",
    ]
    assert refusals_by_name(daily, daily, frozenset(["last", "rollout", "pinned"]), around) == []
    assert refusals_by_name(daily[2:4], daily, frozenset(), around) == []


def test_no_rule_is_an_error_and_not_an_empty_policy() -> None:
    for empty in (Retention(), Retention(Policy(), {"hourly": Policy()})):
        with pytest.raises(ContinuityError, match="no rule"):
            judge(series(3, DAY), empty, Surroundings(START))
    for wrong in ({"last": -2}, {"within": "5"}, {"within": "d"}, {"within": "1d1y"}):
        with pytest.raises(ContinuityError):
            Policy(**wrong)
    assert length("1y2m3w4d5h") == timedelta(days=366 + 62 + 21 + 4, hours=5)


@pytest.mark.parametrize("said", [START + 9999 * DAY, 0.0])
@pytest.mark.parametrize("place", [0, 7, 14])
@pytest.mark.parametrize("rules", [{"last": 3}, {"daily": 5}, {"within": "5d"}, {"yearly": 2}])
def test_one_day_on_which_the_clock_was_wrong_costs_no_good_snapshot(said: float, place: int, rules: Any) -> None:
    good = [snapshot(2 * n + 2, START + n * DAY) for n in range(14)]
    without = kept(good, **rules)
    wrong = snapshot(2 * place + 1, said)
    found = kept([*good, wrong], **rules)
    assert {number: reasons for number, reasons in found.items() if number != wrong.sequence} == without
    near = {2 * place, 2 * place + 2} & set(without)
    assert (wrong.sequence in found) == bool(said or near)


def test_a_machine_whose_clock_fell_back_drops_nothing() -> None:
    daily = series(20, DAY)
    assert len(kept(daily, now=0.0, last=1)) == 20
    late = [snapshot(21 + n, START - 300 * DAY + n * HOUR) for n in range(3)]
    found = kept([*daily, *late], now=START - 299 * DAY, last=1, daily=2)
    assert [number for number in found if number <= 20] == list(range(20, 0, -1))
    assert found[23] == ["last snapshot", "daily snapshot"]


def test_what_is_no_time_at_all_is_kept_beside_its_neighbours() -> None:
    odd = Candidate("ab" * 32, "pc2", 3, "yesterday")
    assert kept([snapshot(2, START), odd, snapshot(4, START + DAY)], last=1) == {
        4: ["last snapshot"],
        3: ["time does not fit its neighbours"],
    }


times = st.lists(st.integers(0, 400), min_size=1, max_size=30)
policies = st.builds(
    Policy,
    last=st.integers(0, 4),
    hourly=st.integers(0, 4),
    daily=st.integers(-1, 4),
    monthly=st.integers(0, 3),
    yearly=st.integers(0, 2),
    within=st.sampled_from(["", "3d", "2m"]),
).filter(bool)


@given(times, policies, st.integers(0, 500))
def test_the_second_run_drops_nothing_more(days: list[int], policy: Policy, now: int) -> None:
    snapshots = [snapshot(n + 1, START + day * DAY / 4) for n, day in enumerate(days)]
    around = Surroundings(START + now * DAY / 4)
    first = judge(snapshots, Retention(policy), around)
    left = [one.snapshot for one in first if one.kept]
    assert left, "a host was left without a snapshot"
    past = {"pc2": [(one.snapshot.sequence, one.snapshot.time) for one in first if not one.kept]}
    second = judge(left, Retention(policy), Surroundings(around.now, past=past))
    assert all(one.kept for one in second)


@given(st.integers(1, 30), st.integers(0, 30), st.integers(-500, 800), policies)
def test_a_wrong_time_never_makes_a_good_snapshot_drop(count: int, place: int, day: int, policy: Policy) -> None:
    good = [snapshot(2 * n + 2, START + n * DAY) for n in range(count)]
    now = START + count * DAY
    without = {one.snapshot.digest for one in judge(good, Retention(policy), Surroundings(now)) if one.kept}
    place = min(place, count)
    wrong = snapshot(2 * place + 1, START + day * DAY + HOUR)
    found = judge([*good, wrong], Retention(policy), Surroundings(now))
    fits = day == place - 1 or (place == 0 and -366 < day < 0)
    if not fits:
        assert without <= {one.snapshot.digest for one in found if one.kept}
