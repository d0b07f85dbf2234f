# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ledger entries amount to, and which of them are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.ledger import (
    Ledger,
    LedgerError,
    compute_state,
    refusal,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.model import Plan, Wave


@pytest.fixture
def ledger(tmp_path):
    return Ledger(str(tmp_path), "MainPC", SystemClock())


def stage(ledger, release, *, run="run1", previous=None, plan=None):
    plan = plan or f"plan{release}"
    ledger.append("staged", run=run, plan=plan, request="q", release=release, previous=previous, digest="d")


def arm(ledger, *, run="run1", deadline=1000.0):
    ledger.append("armed", run=run, deadline=deadline, boot_id="boot", seconds=180.0)


def roll_out(ledger, release, *, run="run1", previous=None, agents=("A",)):
    stage(ledger, release, run=run, previous=previous)
    arm(ledger, run=run)
    ledger.append("activated", run=run, wave=1, agents=list(agents))
    ledger.append("verified", run=run, wave=1, verdict="pass", numbers={})
    ledger.append("confirmed", run=run, release=release, seconds=1.0)


def rolled_back(ledger, source, to, *, run="run1", ok=True):
    ledger.append("rolled_back", run=run, from_release=source, to=to, agents=["A"], seconds=1.0, reason="gate", ok=ok)


def test_an_empty_ledger_says_nothing(ledger):
    state = ledger.state()
    assert (state.current, state.previous, state.unfinished) == (None, None, None)
    assert ledger.entries() == []


def test_every_entry_has_the_fields_of_the_format(ledger):
    stage(ledger, "R1", previous="R0")
    (entry,) = ledger.entries()
    assert {"seq", "time", "host", "run", "event", "plan", "release", "previous", "hash"} <= set(entry)
    assert (entry["host"], entry["previous_release"], entry["previous"]) == ("MainPC", "R0", "0" * 64)


def test_a_rollout_goes_through_its_states(ledger):
    stages = []
    stage(ledger, "R1")
    stages.append(ledger.state().unfinished.stage)
    arm(ledger)
    stages.append(ledger.state().unfinished.stage)
    ledger.append("activated", run="run1", wave=1, agents=["B", "A"])
    stages.append(ledger.state().unfinished.stage)
    ledger.append("verified", run="run1", wave=1, verdict="pass", numbers={"errors": 0})
    stages.append(ledger.state().unfinished.stage)
    ledger.append("activated", run="run1", wave=2, agents=["C", "A"])
    run = ledger.state().unfinished
    assert stages == ["staged", "armed", "activated", "verified"]
    assert run.stage == "activated"
    assert (run.waves_activated, run.waves_verified, run.activated_agents) == ((1, 2), (1,), ("B", "A", "C"))
    assert ledger.state().current is None
    ledger.append("confirmed", run="run1", release="R1", seconds=2.0)
    assert (ledger.state().current, ledger.state().unfinished) == ("R1", None)


def test_a_later_armed_moves_the_deadline_and_not_the_stage(ledger):
    stage(ledger, "R1")
    arm(ledger, deadline=10.0)
    ledger.append("activated", run="run1", wave=1, agents=["A"])
    arm(ledger, deadline=99.0)
    run = ledger.state().unfinished
    assert (run.deadline, run.boot_id, run.deadman_seconds, run.stage) == (99.0, "boot", 180.0, "activated")


def test_a_resumed_run_keeps_the_restore_point_that_it_began_with(ledger):
    fields = {"plan": "p", "request": "q", "release": "R1", "previous": None, "digest": "d"}
    ledger.append("staged", run="run1", restore_point="rp-run1", **fields)
    arm(ledger)
    ledger.append("resumed", run="run2", plan="p", owner="o")
    run = ledger.state().unfinished
    assert (run.run, run.restore_point) == ("run2", "rp-run1")


def test_only_a_passed_gate_verifies(ledger):
    stage(ledger, "R1")
    arm(ledger)
    ledger.append("activated", run="run1", wave=1, agents=["A"])
    for verdict in ("fail", "inconclusive"):
        ledger.append("verified", run="run1", wave=1, verdict=verdict, numbers={})
    assert ledger.state().unfinished.waves_verified == ()
    assert ledger.state().unfinished.stage == "activated"


def test_previous_is_the_release_before_and_never_a_quarantined_one(ledger):
    for number in (1, 2, 3):
        roll_out(ledger, f"R{number}", run=f"run{number}")
    assert (ledger.state().current, ledger.state().previous) == ("R3", "R2")
    ledger.append("quarantined", release="R2", reason="errors")
    assert ledger.state().previous == "R1"


def test_going_back_takes_the_left_release_off(ledger):
    for number in (1, 2, 3):
        roll_out(ledger, f"R{number}", run=f"run{number}")
    rolled_back(ledger, "R3", "R2", run="back")
    assert (ledger.state().current, ledger.state().previous) == ("R2", "R1")


def test_a_rollback_of_an_unfinished_rollout_keeps_the_current_release(ledger):
    roll_out(ledger, "R1")
    stage(ledger, "R2", run="run2", previous="R1")
    arm(ledger, run="run2")
    ledger.append("activated", run="run2", wave=1, agents=["A"])
    rolled_back(ledger, "R2", "R1", run="run2", ok=False)
    assert ledger.state().unfinished is not None
    rolled_back(ledger, "R2", "R1", run="run2")
    assert (ledger.state().current, ledger.state().unfinished) == ("R1", None)


def test_rolling_back_the_first_release_leaves_none(ledger):
    roll_out(ledger, "R1")
    rolled_back(ledger, "R1", None)
    assert ledger.state().current is None


def test_a_removed_release_is_never_previous(ledger):
    for number in (1, 2, 3):
        roll_out(ledger, f"R{number}", run=f"run{number}")
    ledger.append("removed", release="R2")
    assert ledger.state().previous == "R1"


def test_the_same_release_again_keeps_previous(ledger):
    roll_out(ledger, "R1")
    roll_out(ledger, "R2", run="run2")
    roll_out(ledger, "R2", run="run3")
    assert ledger.state().previous == "R1"


def test_a_confirmed_release_is_no_longer_quarantined(ledger):
    ledger.append("quarantined", release="R1", reason="errors")
    assert ledger.state().quarantined == {"R1"}
    roll_out(ledger, "R1")
    assert ledger.state().quarantined == frozenset()


def test_a_resumed_rollout_belongs_to_the_new_run(ledger):
    stage(ledger, "R1")
    arm(ledger)
    ledger.append("resumed", run="run2")
    with pytest.raises(LedgerError, match="belongs to run run2, not to run run1"):
        ledger.append("activated", run="run1", wave=1, agents=["A"])
    ledger.append("activated", run="run2", wave=1, agents=["A"])


@pytest.mark.parametrize(
    ("event", "fields", "sentence"),
    [
        ("armed", {"deadline": 1, "boot_id": "b", "seconds": 1}, "no rollout is unfinished"),
        ("activated", {"wave": 1, "agents": []}, "no rollout is unfinished"),
        ("confirmed", {"release": "R1", "seconds": 1}, "no rollout is unfinished"),
        ("confirmed", {"release": "R1"}, "confirmed needs seconds"),
        ("exploded", {}, "there is no event exploded"),
    ],
)
def test_events_that_cannot_follow_are_refused(ledger, event, fields, sentence):
    with pytest.raises(LedgerError, match=sentence):
        ledger.append(event, run="run1", **fields)
    assert ledger.entries() == []


def test_nothing_is_activated_before_the_dead_man_is_armed(ledger):
    stage(ledger, "R1")
    with pytest.raises(LedgerError, match="dead man is not armed"):
        ledger.append("activated", run="run1", wave=1, agents=["A"])


def test_another_plan_cannot_be_staged_over_an_activated_one(ledger):
    stage(ledger, "R1")
    stage(ledger, "R2", run="run2")
    assert ledger.state().unfinished.release == "R2"
    arm(ledger, run="run2")
    with pytest.raises(LedgerError, match=r"rollout of R2 \(run run2, armed\) is unfinished"):
        stage(ledger, "R3", run="run3")
    stage(ledger, "R2", run="run4")
    assert (ledger.state().unfinished.run, ledger.state().unfinished.stage) == ("run4", "armed")


def test_a_confirmation_after_the_dead_man_is_refused(ledger):
    stage(ledger, "R1")
    arm(ledger)
    ledger.append("activated", run="run1", wave=1, agents=["A"])
    rolled_back(ledger, "R1", None)
    with pytest.raises(LedgerError, match="no rollout is unfinished"):
        ledger.append("confirmed", run="run1", release="R1", seconds=1.0)


NAMES = st.sampled_from(["R1", "R2", "R3"])
RUNS = st.sampled_from(["run1", "run2"])
EVENTS = st.one_of(
    st.fixed_dictionaries(
        {
            "event": st.just("staged"),
            "run": RUNS,
            "plan": NAMES,
            "release": NAMES,
            "request": st.just("q"),
            "previous_release": st.none() | NAMES,
            "digest": st.just("d"),
        }
    ),
    st.fixed_dictionaries(
        {
            "event": st.just("armed"),
            "run": RUNS,
            "deadline": st.floats(0, 9),
            "boot_id": st.just("b"),
            "seconds": st.just(1.0),
        }
    ),
    st.fixed_dictionaries(
        {
            "event": st.just("activated"),
            "run": RUNS,
            "wave": st.integers(1, 3),
            "agents": st.lists(st.sampled_from("ABC"), max_size=3),
        }
    ),
    st.fixed_dictionaries(
        {
            "event": st.just("verified"),
            "run": RUNS,
            "wave": st.integers(1, 3),
            "verdict": st.sampled_from(["pass", "fail", "inconclusive"]),
            "numbers": st.just({}),
        }
    ),
    st.fixed_dictionaries({"event": st.just("confirmed"), "run": RUNS, "release": NAMES, "seconds": st.just(1.0)}),
    st.fixed_dictionaries(
        {
            "event": st.just("rolled_back"),
            "run": RUNS,
            "from_release": NAMES,
            "to": st.none() | NAMES,
            "agents": st.just([]),
            "seconds": st.just(1.0),
            "reason": st.just("r"),
            "ok": st.booleans(),
        }
    ),
    st.fixed_dictionaries({"event": st.just("quarantined"), "release": NAMES, "reason": st.just("r")}),
    st.fixed_dictionaries({"event": st.just("resumed"), "run": RUNS}),
    st.fixed_dictionaries({"event": st.just("removed"), "release": NAMES}),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_no_order_of_events_breaks_the_rules(events):
    entries = []
    for fields in events:
        before = compute_state(entries)
        if refusal(before, fields["event"], fields) is not None:
            continue
        entries.append(fields)
        state = compute_state(entries)
        assert state.previous is None or state.previous not in (state.current, *state.quarantined)
        assert state.current is None or state.current == state.history[-1]
        run = state.unfinished
        if fields["event"] == "confirmed":
            assert run is None and state.current == fields["release"]
        elif fields["event"] == "rolled_back" and fields["ok"]:
            assert run is None and state.current == fields["to"]
        elif fields["event"] != "removed":
            assert state.current == before.current
        if run is not None and run.stage != "staged":
            assert run.deadline is not None
        assert not (run is not None and run.waves_activated and run.stage in ("staged", "armed"))
        if before.unfinished is not None and before.unfinished.stage in ("armed", "activated", "verified"):
            ended = fields["event"] in ("confirmed", "rolled_back")
            assert ended or (run is not None and run.plan_hash == before.unfinished.plan_hash)


def test_a_plan_comes_back_as_it_was_saved(ledger):
    plan = Plan("R1", "aa", "bb", {"MainPC": None}, (), (Wave(1, {"MainPC": ("A",)}, {"MainPC": 1}),))
    ledger.append("quarantined", release="x", reason="y")
    ledger.save_plan(plan)
    assert ledger.load_plan("bb") == plan
    with pytest.raises(LedgerError, match="the plan cannot be read"):
        ledger.load_plan("cc")
    with pytest.raises(LedgerError, match="not the hash of a plan"):
        ledger.load_plan("../bb")
