# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three verdicts, and that what was not measured never passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.gates import (
    FAIL,
    INCONCLUSIVE,
    PASS,
    Baseline,
    GateRules,
    Sample,
    evaluate,
    from_plain,
    to_plain,
)

RULES = GateRules()
HEALTHY = Baseline("healthy")


def watch(statuses="hhh", **counters):
    """Samples one second apart; each counter is a list with one value per sample."""
    words = {"h": "healthy", "d": "degraded", "u": "unhealthy", "?": "unknown"}
    return [
        Sample(float(at), words[status], "running", **{name: values[at] for name, values in counters.items()})
        if "process" not in counters
        else Sample(float(at), words[status], **{name: values[at] for name, values in counters.items()})
        for at, status in enumerate(statuses)
    ]


@pytest.mark.parametrize(
    ("taken", "before", "verdict", "said"),
    [
        (watch("hhh"), HEALTHY, PASS, ""),
        (watch("hhh"), Baseline("absent"), PASS, ""),
        (watch("h?hhh"), HEALTHY, PASS, ""),
        (watch("huhhh"), HEALTHY, PASS, ""),
        (watch("uuhhh"), HEALTHY, FAIL, "A is unhealthy"),
        (watch("ddd"), HEALTHY, FAIL, "A is degraded, it was healthy before"),
        (watch("ddd"), Baseline("degraded"), PASS, ""),
        (watch("hhh", restarts=[0, 0, 1]), HEALTHY, FAIL, "A was restarted 1 times"),
        (watch("hhh", restarts=[4, 4, 4]), HEALTHY, PASS, ""),
        (watch("hhh", process=["running", "failed", "failed"]), HEALTHY, FAIL, "A does not run (failed)"),
        (watch("hhh", errors=[0, 1, 2]), HEALTHY, FAIL, "A counts 60.0 errors a minute, 0.0 before"),
        (watch("hhh", errors=[0, 1, 2]), Baseline("healthy", errors_per_minute=50.0), PASS, ""),
        (watch("hhh", errors=[9, 0, 0]), HEALTHY, PASS, ""),
        (watch("hhh", log_lines=[0, 5, 9], log_errors=[0, 2, 4]), HEALTHY, FAIL, "A logged 4 errors in 9 lines"),
        (watch("hhh", log_lines=[0, 5, 9], log_errors=[0, 2, 3]), HEALTHY, PASS, ""),
        (watch("hhh", log_lines=[0, 5, 9], log_errors=[0, 2, 4]), Baseline("healthy", None, 0.3), PASS, ""),
        ([], HEALTHY, INCONCLUSIVE, "A answered 0 of 0 times"),
        (watch("???"), HEALTHY, INCONCLUSIVE, "A answered 0 of 3 times"),
        (watch("hh?"), HEALTHY, INCONCLUSIVE, "A answered 2 of 3 times"),
        (watch("hhh?"), HEALTHY, INCONCLUSIVE, "A was unknown at the end"),
        (watch("hhhu"), HEALTHY, INCONCLUSIVE, "A was unhealthy at the end"),
        (watch("hhh"), None, INCONCLUSIVE, "A has no baseline"),
        (watch("hhh"), Baseline("healthy", errors_per_minute=0.0), INCONCLUSIVE, "no longer tells its error count"),
    ],
)
def test_a_changed_agent(taken, before, verdict, said):
    decided = evaluate({"A": taken}, {"A": before} if before else {}, {"A"}, RULES)
    assert decided.verdict == verdict, decided
    assert said in " ".join(decided.reasons)
    assert decided.numbers["A"]["samples"] == len(taken)


@pytest.mark.parametrize(
    ("statuses", "before", "verdict"),
    [
        ("hhh", "healthy", PASS),
        ("uuu", "healthy", FAIL),
        ("uuu", "unhealthy", PASS),
        ("hhu", "healthy", INCONCLUSIVE),
        ("??", "healthy", INCONCLUSIVE),
        ("??", "unknown", PASS),
    ],
)
def test_a_neighbour_that_was_not_changed(statuses, before, verdict):
    decided = evaluate({"N": watch(statuses)}, {"N": Baseline(before)}, (), RULES)
    assert decided.verdict == verdict
    assert decided.numbers == {}


def test_one_failure_outweighs_everything_else():
    samples = {"A": watch("hhh"), "B": watch("uuu"), "C": []}
    decided = evaluate(samples, dict.fromkeys("ABC", HEALTHY), {"A", "B", "C"}, RULES)
    assert (decided.verdict, decided.reasons) == (FAIL, ("B is unhealthy",))


def test_an_agent_that_was_never_sampled_does_not_pass():
    assert evaluate({}, {"A": HEALTHY}, {"A"}, RULES).verdict == INCONCLUSIVE


@given(st.text("h?du", max_size=12), st.text("h?du", max_size=12))
def test_only_enough_good_answers_pass(mine, other):
    baselines = {"A": HEALTHY, "B": HEALTHY}
    decided = evaluate({"A": watch(mine), "B": watch(other)}, baselines, {"A", "B"}, RULES)
    if decided.verdict == PASS:
        for statuses in (mine, other):
            assert len(statuses.replace("?", "")) >= RULES.min_samples
            assert "uu" not in statuses
            assert statuses[-1] in "hd"


def test_baselines_survive_as_plain_values():
    baselines = {"A": Baseline("healthy", 1.5, None), "B": Baseline("absent")}
    assert from_plain(to_plain(baselines)) == baselines
